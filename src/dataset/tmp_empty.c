#include <stdint.h>
extern int cairn_dataset_empty;
int cairn_dataset_empty;

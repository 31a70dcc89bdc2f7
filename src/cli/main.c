#include <cairn/version.h>
#include <stdio.h>
int main(void)
{
    printf("cairn %s\n", cairn_version());
    return 0;
}

/* Texts in JSON, for run.json and for --json of the command. */
#ifndef CAIRN_SNAPSHOT_JSON_H
#define CAIRN_SNAPSHOT_JSON_H

#include <jansson.h>

/* A text; or, when it is not UTF-8, the list of its bytes. NULL: no memory. */
json_t *cairn_json_text(const char *text);

#endif

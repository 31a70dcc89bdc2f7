/* Is a history of operations on keys linearizable (Herlihy, Wing 1990): is there an order of them, each at some moment
 * between its begin and its end, in which a plain table would have given the same results?
 *
 * Each key is judged by itself, since a history is linearizable if and only if each of its keys' is (locality). The
 * search is that of Wing and Gong with Lowe's memory of configurations (Lowe, "Testing for linearizability", 2017;
 * Horn, Kroening, "Faster linearizability checking via P-compositionality", 2015). An operation whose outcome is not
 * known may have taken effect at any moment after its begin, or never.
 *
 * For tests: ends the program when memory is short. */
#ifndef CAIRN_TESTS_SUPPORT_LINEAR_H
#define CAIRN_TESTS_SUPPORT_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum linear_kind { LINEAR_PUT = 1, LINEAR_GET, LINEAR_CAS, LINEAR_DELETE } linear_kind;

#define LINEAR_UNKNOWN UINT64_MAX

typedef struct linear_op {
    uint32_t process; /* for the text only */
    linear_kind kind;
    uint64_t begin, end; /* of any clock that all share; end LINEAR_UNKNOWN: the outcome is not known */
    const char *key;
    const char *value;    /* PUT, CAS: the new one. GET: what was found. NULL: none */
    const char *expected; /* CAS: the value that it must have had; NULL: none */
    bool done;            /* CAS: it was. DELETE: there was one */
} linear_op;

typedef enum linear_verdict { LINEAR_YES, LINEAR_NO, LINEAR_UNDECIDED } linear_verdict;

typedef struct linear linear;

linear *linear_new(void);
void linear_free(linear *history);                     /* NULL-safe */
void linear_add(linear *history, const linear_op *op); /* copies; in any order */
/* A line of text: PROCESS BEGIN END|- and one of
 *   put KEY VALUE ok|?    get KEY VALUE|-|?    cas KEY EXPECTED|- VALUE ok|fail|?    delete KEY ok|none|?
 * "-": none. "?", or "-" for the end: the outcome is not known. Empty lines and those that begin with # say nothing.
 * false: it is no such line; why says what is wrong. */
bool linear_add_line(linear *history, const char *line, char why[200]);
size_t linear_operations(const linear *history);
size_t linear_keys(const linear *history);

/* steps_max: of the search, over all keys; 0: 500 million. text (may be NULL): "linearizable: ...", or the key and the
 * smallest span of time whose operations have no order, one a line as above. */
linear_verdict linear_check(linear *history, uint64_t steps_max, char *text, size_t bytes);

#endif

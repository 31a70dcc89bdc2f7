/* Parsing --group-by and --agg. */
#include "dataset/query.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"count", "sum", "mean", "min", "max"};
enum { KINDS = sizeof kind_names / sizeof kind_names[0], NAME_MAX_BYTES = 512 };

/* Read a name up to one of `stops` or the end; "..." keeps stops, "" in it is a quote. Blanks around are dropped. */
static const char *read_name(const char *at, const char *stops, char name[NAME_MAX_BYTES])
{
    size_t length = 0;
    bool quoted = false, was_quoted = false;

    while (*at == ' ') {
        at++;
    }
    for (; *at != '\0' && (quoted || strchr(stops, *at) == NULL); at++) {
        if (*at == '"' && quoted && at[1] == '"') {
            at++;
        } else if (*at == '"' && (quoted || length == 0)) {
            quoted = !quoted;
            was_quoted = true;
            continue;
        }
        if (length + 1 < NAME_MAX_BYTES) {
            name[length++] = *at;
        }
    }
    while (!was_quoted && length > 0 && name[length - 1] == ' ') {
        length--;
    }
    name[length] = '\0';
    return at;
}

static cairn_status find_column(const cairn_columns *columns, const char *name, uint32_t *column, cairn_error *error)
{
    uint32_t found = UINT32_MAX;
    char list[360];
    size_t length = 0;

    for (uint32_t i = 0; i < columns->count; i++) {
        if (strcmp(columns->name[i], name) == 0) {
            if (found != UINT32_MAX) {
                return cairn_fail(error, CAIRN_E_INVALID, "the header has two columns named %s", name);
            }
            found = i;
        }
    }
    if (found != UINT32_MAX) {
        *column = found;
        return CAIRN_OK;
    }
    list[0] = '\0';
    for (uint32_t i = 0; i < columns->count && length < sizeof list - 8; i++) {
        int written = snprintf(list + length, sizeof list - length, "%s%s", i == 0 ? "" : ", ", columns->name[i]);
        length += written > 0 ? (size_t)written : 0;
    }
    if (length >= sizeof list) {
        memcpy(list + sizeof list - 4, "...", 4);
    }
    return cairn_fail(error, CAIRN_E_INVALID, "no column named %s; the columns are: %s", name, list);
}

static cairn_status add_value(cairn_query *query, uint32_t column, bool numeric, uint32_t *value, cairn_error *error)
{
    uint32_t i = 0;

    while (i < query->value_count && query->value_column[i] != column) {
        i++;
    }
    if (i == CAIRN_VALUE_COLUMNS_MAX) {
        return cairn_fail(error, CAIRN_E_INVALID, "more than %d columns to aggregate", CAIRN_VALUE_COLUMNS_MAX);
    }
    if (i == query->value_count) {
        query->value_column[query->value_count++] = column;
    }
    query->numeric[i] = query->numeric[i] || numeric;
    *value = i;
    return CAIRN_OK;
}

static cairn_status parse_groups(cairn_query *query, const char *at, const cairn_columns *columns, cairn_error *error)
{
    char name[NAME_MAX_BYTES];

    for (;; at++) {
        at = read_name(at, ",", name);
        if (query->group_count == CAIRN_GROUP_COLUMNS_MAX) {
            return cairn_fail(error, CAIRN_E_INVALID, "more than %d columns to group by", CAIRN_GROUP_COLUMNS_MAX);
        }
        cairn_status status = find_column(columns, name, &query->group_column[query->group_count], error);
        if (status != CAIRN_OK) {
            return status;
        }
        query->group_count++;
        if (*at == '\0') {
            return CAIRN_OK;
        }
    }
}

static cairn_status parse_aggregate(cairn_query *query, const char **at, const cairn_columns *columns,
                                    cairn_error *error)
{
    char kind[NAME_MAX_BYTES], name[NAME_MAX_BYTES];
    cairn_aggregate aggregate = {CAIRN_COUNT, CAIRN_NO_VALUE};
    uint32_t column, k = 0;
    cairn_status status;

    *at = read_name(*at, ",()", kind);
    while (k < KINDS && strcmp(kind, kind_names[k]) != 0) {
        k++;
    }
    if (k == KINDS) {
        return cairn_fail(error, CAIRN_E_INVALID, "no aggregate named %s; there are: count, sum, mean, min, max", kind);
    }
    aggregate.kind = (cairn_aggregate_kind)k;
    if (**at != '(' && aggregate.kind != CAIRN_COUNT) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s needs a column, such as %s(delay)", kind, kind);
    }
    if (**at == '(') {
        *at = read_name(*at + 1, ")", name);
        if (**at != ')') {
            return cairn_fail(error, CAIRN_E_INVALID, "a ) is missing behind %s(%s", kind, name);
        }
        ++*at;
        *at += strspn(*at, " ");
        if (aggregate.kind != CAIRN_COUNT || strcmp(name, "*") != 0) {
            status = find_column(columns, name, &column, error);
            if (status == CAIRN_OK) {
                status = add_value(query, column, aggregate.kind != CAIRN_COUNT, &aggregate.value, error);
            }
            if (status != CAIRN_OK) {
                return status;
            }
        }
    }
    if (**at != '\0' && **at != ',') {
        return cairn_fail(error, CAIRN_E_INVALID, "unexpected \"%s\" in the aggregates", *at);
    }
    if (query->aggregate_count == CAIRN_AGGREGATES_MAX) {
        return cairn_fail(error, CAIRN_E_INVALID, "more than %d aggregates", CAIRN_AGGREGATES_MAX);
    }
    query->aggregate[query->aggregate_count++] = aggregate;
    return CAIRN_OK;
}

cairn_status cairn_query_parse(cairn_query *query, const char *group_by, const char *aggregates,
                               const cairn_columns *columns, cairn_error *error)
{
    const char *at = aggregates == NULL ? "count" : aggregates;
    cairn_status status = CAIRN_OK;

    memset(query, 0, sizeof *query);
    if (group_by != NULL) {
        status = parse_groups(query, group_by, columns, error);
    }
    while (status == CAIRN_OK) {
        status = parse_aggregate(query, &at, columns, error);
        if (*at == '\0') {
            break;
        }
        at++;
    }
    return status;
}

void cairn_query_name(const cairn_query *query, uint32_t aggregate, const cairn_columns *columns, char *text,
                      size_t bytes)
{
    const cairn_aggregate *a = &query->aggregate[aggregate];

    if (a->value == CAIRN_NO_VALUE) {
        (void)snprintf(text, bytes, "%s", kind_names[a->kind]);
    } else {
        (void)snprintf(text, bytes, "%s(%s)", kind_names[a->kind], columns->name[query->value_column[a->value]]);
    }
}

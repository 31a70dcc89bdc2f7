/* Parsing --group-by, --agg and --order-by; --where is in expr_parse.c. */
#include "dataset/query.h"

#include <stdio.h>
#include <string.h>

#include <strings.h>

static const char *const kind_names[] = {
    "count", "sum", "mean", "min", "max", "variance", "stddev", "median", "approx_distinct", "approx_quantile"};
static const uint8_t kind_needs[] = {0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     CAIRN_NEEDS_SQUARES,
                                     CAIRN_NEEDS_SQUARES,
                                     CAIRN_NEEDS_QUANTILES,
                                     CAIRN_NEEDS_DISTINCT,
                                     CAIRN_NEEDS_QUANTILES};
enum { KINDS = sizeof kind_names / sizeof kind_names[0] };

const char *cairn_read_name(const char *at, const char *stops, char name[CAIRN_NAME_BYTES])
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
        if (length + 1 < CAIRN_NAME_BYTES) {
            name[length++] = *at;
        }
    }
    while (!was_quoted && length > 0 && name[length - 1] == ' ') {
        length--;
    }
    name[length] = '\0';
    return at;
}

cairn_status cairn_find_column(const cairn_columns *columns, const char *name, uint32_t *column, cairn_error *error)
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
    char name[CAIRN_NAME_BYTES];

    for (;; at++) {
        at = cairn_read_name(at, ",", name);
        if (query->group_count == CAIRN_GROUP_COLUMNS_MAX) {
            return cairn_fail(error, CAIRN_E_INVALID, "more than %d columns", CAIRN_GROUP_COLUMNS_MAX - query->selects);
        }
        cairn_status status = cairn_find_column(columns, name, &query->group_column[query->group_count], error);
        if (status != CAIRN_OK) {
            return status;
        }
        query->group_count++;
        if (*at == '\0') {
            return CAIRN_OK;
        }
    }
}

static cairn_status parse_select(cairn_query *query, const cairn_query_text *text, const cairn_columns *columns,
                                 cairn_error *error)
{
    cairn_status status = CAIRN_OK;

    if (text->group_by != NULL || text->aggregates != NULL) {
        return cairn_fail(error, CAIRN_E_INVALID, "--select prints rows: it goes with neither --group-by nor --agg");
    }
    query->selects = true;
    query->group_column[query->group_count++] = CAIRN_POSITION;
    if (strcmp(text->select, "*") != 0) {
        return parse_groups(query, text->select, columns, error);
    }
    for (uint32_t i = 0; i < columns->count && status == CAIRN_OK; i++) {
        if (query->group_count == CAIRN_GROUP_COLUMNS_MAX) {
            status = cairn_fail(error, CAIRN_E_INVALID, "--select '*': more than %d columns: name some of them",
                                CAIRN_GROUP_COLUMNS_MAX - 1);
        } else {
            query->group_column[query->group_count++] = i;
        }
    }
    return status;
}

uint64_t cairn_query_first(const cairn_query *query)
{
    return query->selects && query->order_count == 0 ? query->limit : 0;
}

/* "0.9" behind the column of a quantile. */
static cairn_status parse_share(const char **at, double *share, cairn_error *error)
{
    char text[CAIRN_NAME_BYTES];

    *at = cairn_read_name(*at + 1, ",)", text);
    cairn_number number = cairn_number_parse(text, strlen(text));
    bool fits = number.kind == CAIRN_NUMBER_FIXED && number.fixed >= 0 && number.fixed <= CAIRN_FIXED_ONE;
    if (!fits) {
        return cairn_fail(error, CAIRN_E_INVALID, "a quantile is between 0 and 1, such as approx_quantile(delay, 0.9)");
    }
    *share = (double)number.fixed / (double)CAIRN_FIXED_ONE;
    return CAIRN_OK;
}

static cairn_status parse_argument(cairn_query *query, const char **at, const cairn_columns *columns,
                                   cairn_aggregate *aggregate, cairn_error *error)
{
    const char *kind = kind_names[aggregate->kind];
    char name[CAIRN_NAME_BYTES];
    cairn_status status = CAIRN_OK;
    uint32_t column;

    *at = cairn_read_name(*at + 1, ",)", name);
    if (aggregate->kind == CAIRN_AGG_QUANTILE) {
        status = **at == ',' ? parse_share(at, &aggregate->share, error)
                             : cairn_fail(error, CAIRN_E_INVALID, "it is %s(COLUMN, SHARE)", kind);
    }
    if (status == CAIRN_OK && **at != ')') {
        status = cairn_fail(error, CAIRN_E_INVALID, "a ) is missing behind %s(%s", kind, name);
    }
    if (status == CAIRN_OK && (aggregate->kind != CAIRN_COUNT || strcmp(name, "*") != 0)) {
        bool numeric = aggregate->kind != CAIRN_COUNT && aggregate->kind != CAIRN_AGG_DISTINCT;
        status = cairn_find_column(columns, name, &column, error);
        if (status == CAIRN_OK) {
            status = add_value(query, column, numeric, &aggregate->value, error);
        }
        if (status == CAIRN_OK) {
            query->needs[aggregate->value] |= kind_needs[aggregate->kind];
        }
    }
    if (status == CAIRN_OK) {
        ++*at;
        *at += strspn(*at, " ");
    }
    return status;
}

static cairn_status parse_aggregate(cairn_query *query, const char **at, const cairn_columns *columns,
                                    cairn_error *error)
{
    char kind[CAIRN_NAME_BYTES];
    cairn_aggregate aggregate = {CAIRN_COUNT, CAIRN_NO_VALUE, 0.5};
    cairn_status status = CAIRN_OK;
    uint32_t k = 0;

    *at = cairn_read_name(*at, ",()", kind);
    while (k < KINDS && strcmp(kind, kind_names[k]) != 0) {
        k++;
    }
    if (k == KINDS) {
        return cairn_fail(error, CAIRN_E_INVALID,
                          "no aggregate named %s; there are: count, sum, mean, min, max, variance, stddev, median, "
                          "approx_distinct, approx_quantile",
                          kind);
    }
    aggregate.kind = (cairn_aggregate_kind)k;
    if (**at != '(' && aggregate.kind != CAIRN_COUNT) {
        return cairn_fail(error, CAIRN_E_INVALID, "%s needs a column, such as %s(delay)", kind, kind);
    }
    if (**at == '(') {
        status = parse_argument(query, at, columns, &aggregate, error);
    }
    if (status == CAIRN_OK && **at != '\0' && **at != ',') {
        status = cairn_fail(error, CAIRN_E_INVALID, "unexpected \"%s\" in the aggregates", *at);
    }
    if (status == CAIRN_OK && query->aggregate_count == CAIRN_AGGREGATES_MAX) {
        status = cairn_fail(error, CAIRN_E_INVALID, "more than %d aggregates", CAIRN_AGGREGATES_MAX);
    }
    if (status == CAIRN_OK) {
        query->aggregate[query->aggregate_count++] = aggregate;
    }
    return status;
}

/* Up to a comma that is in no quotes and no parentheses. */
static size_t item_bytes(const char *at)
{
    bool quoted = false;
    size_t i = 0, depth = 0;

    for (; at[i] != '\0' && (quoted || depth > 0 || at[i] != ','); i++) {
        quoted = at[i] == '"' ? !quoted : quoted;
        depth += !quoted && at[i] == '(' ? 1 : 0;
        depth -= !quoted && at[i] == ')' && depth > 0 ? 1 : 0;
    }
    return i;
}

/* Cut " desc" or " asc" off the end. */
static bool cut_direction(char *item)
{
    static const char *const words[] = {"asc", "desc"};
    size_t length = strlen(item);
    bool descending = false;

    while (length > 0 && item[length - 1] == ' ') {
        item[--length] = '\0';
    }
    for (int i = 0; i < 2; i++) {
        size_t word = strlen(words[i]);
        if (length > word && item[length - word - 1] == ' ' && strcasecmp(item + length - word, words[i]) == 0) {
            item[length - word - 1] = '\0';
            descending = i == 1;
            break;
        }
    }
    return descending;
}

static bool find_group(const cairn_query *query, const char *item, const cairn_columns *columns, uint32_t *column)
{
    char name[CAIRN_NAME_BYTES];

    if (*cairn_read_name(item, "", name) != '\0') {
        return false;
    }
    for (uint32_t i = query->selects; i < query->group_count; i++) {
        if (strcmp(columns->name[query->group_column[i]], name) == 0) {
            *column = i;
            return true;
        }
    }
    return false;
}

static cairn_status find_aggregate(const cairn_query *query, const char *item, const cairn_columns *columns,
                                   uint32_t *column, cairn_error *error)
{
    cairn_query probe = *query;
    const char *at = item;

    probe.aggregate_count = 0;
    cairn_status status = parse_aggregate(&probe, &at, columns, error);
    const cairn_aggregate *wanted = &probe.aggregate[0];
    for (uint32_t i = 0; status == CAIRN_OK && i < query->aggregate_count; i++) {
        const cairn_aggregate *a = &query->aggregate[i];
        if (a->kind == wanted->kind && a->value == wanted->value && memcmp(&a->share, &wanted->share, 8) == 0) {
            *column = query->group_count + i;
            return CAIRN_OK;
        }
    }
    return cairn_fail(error, CAIRN_E_INVALID, "--order-by %s: is neither grouped by nor among the aggregates", item);
}

static cairn_status parse_order(cairn_query *query, const char *at, const cairn_columns *columns, cairn_error *error)
{
    char item[2 * CAIRN_NAME_BYTES];

    for (;; at++) {
        size_t bytes = item_bytes(at);
        if (bytes >= sizeof item || query->order_count == CAIRN_AGGREGATES_MAX) {
            return cairn_fail(error, CAIRN_E_INVALID, "--order-by: too long");
        }
        memcpy(item, at, bytes);
        item[bytes] = '\0';
        cairn_order_by *order = &query->order[query->order_count++];
        order->descending = cut_direction(item);
        cairn_status status = find_group(query, item, columns, &order->column)
                                  ? CAIRN_OK
                                  : find_aggregate(query, item, columns, &order->column, error);
        at += bytes;
        if (status != CAIRN_OK || *at == '\0') {
            return status;
        }
    }
}

cairn_status cairn_query_parse(cairn_query *query, const cairn_query_text *text, const cairn_columns *columns,
                               const bool *numeric, cairn_error *error)
{
    const char *at = text->aggregates == NULL ? "count" : text->aggregates;
    cairn_status status = CAIRN_OK;

    memset(query, 0, sizeof *query);
    query->limit = text->limit;
    if (text->select != NULL) {
        status = parse_select(query, text, columns, error);
    } else if (text->group_by != NULL) {
        status = parse_groups(query, text->group_by, columns, error);
    }
    while (status == CAIRN_OK && !query->selects) {
        status = parse_aggregate(query, &at, columns, error);
        if (*at == '\0') {
            break;
        }
        at++;
    }
    for (uint32_t i = 0; i < query->value_count; i++) {
        query->of_numbers[i] = numeric != NULL && numeric[query->value_column[i]];
    }
    if (status == CAIRN_OK && text->order_by != NULL) {
        status = parse_order(query, text->order_by, columns, error);
    }
    if (status == CAIRN_OK && text->where != NULL) {
        status = cairn_expr_parse(&query->where, text->where, columns, numeric, error);
    }
    return status;
}

void cairn_query_free(cairn_query *query)
{
    cairn_expr_free(query->where);
    memset(query, 0, sizeof *query);
}

void cairn_query_name(const cairn_query *query, uint32_t aggregate, const cairn_columns *columns, char *text,
                      size_t bytes)
{
    const cairn_aggregate *a = &query->aggregate[aggregate];
    const char *kind = kind_names[a->kind];

    if (a->value == CAIRN_NO_VALUE) {
        (void)snprintf(text, bytes, "%s", kind);
    } else if (a->kind == CAIRN_AGG_QUANTILE) {
        (void)snprintf(text, bytes, "%s(%s,%.9g)", kind, columns->name[query->value_column[a->value]], a->share);
    } else {
        (void)snprintf(text, bytes, "%s(%s)", kind, columns->name[query->value_column[a->value]]);
    }
}

/* From text to a tree: recursive descent over the grammar in expr.h. */
#include "dataset/expr_parts.h"

#include <stdio.h>
#include <strings.h>

enum { DEPTH_MAX = 100, NOTHING = -1 };

typedef enum token_kind {
    TOKEN_END,
    TOKEN_NUMBER,
    TOKEN_TEXT, /* '...' */
    TOKEN_NAME, /* "..." */
    TOKEN_WORD, /* a name or a word of the language */
    TOKEN_SIGN
} token_kind;

typedef struct token {
    token_kind kind;
    const char *at; /* where it begins */
    size_t bytes;   /* as written */
    char sign[3];
} token;

typedef struct parser {
    const char *text, *next;
    token token;
    cairn_expr *expr;
    const cairn_columns *columns;
    const bool *numeric;
    size_t texts_used;
    uint32_t depth;
    cairn_error *error;
    bool failed;
} parser;

static int wrong(parser *p, const char *at, const char *what)
{
    if (!p->failed) {
        (void)cairn_fail(p->error, CAIRN_E_INVALID, "--where: character %zu: %s", (size_t)(at - p->text) + 1, what);
    }
    p->failed = true;
    return NOTHING;
}

static bool is_word_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80 ||
           (!first && ((c >= '0' && c <= '9') || c == '.'));
}

/* Behind the quote that closes what began at `at`; NULL: none does. */
static const char *behind_quote(const char *at)
{
    char quote = *at++;

    while (*at != '\0') {
        if (*at == quote && at[1] != quote) {
            return at + 1;
        }
        at += *at == quote ? 2 : 1;
    }
    return NULL;
}

static size_t number_bytes(const char *at)
{
    const char *end = at + strspn(at, "0123456789.");

    if ((*end == 'e' || *end == 'E') && strspn(end + 1 + (end[1] == '-' || end[1] == '+'), "0123456789") > 0) {
        end += 1 + (end[1] == '-' || end[1] == '+');
        end += strspn(end, "0123456789");
    }
    return (size_t)(end - at);
}

static void advance(parser *p)
{
    static const char *const signs[] = {"<=", ">=", "<>", "!=", "==", "=", "<", ">",
                                        "(",  ")",  ",",  "+",  "-",  "*", "/", "%"};
    const char *at = p->next + strspn(p->next, " \t\r\n");
    const char *end = at;

    p->token = (token){.kind = TOKEN_END, .at = at};
    if (*at == '\'' || *at == '"') {
        p->token.kind = *at == '"' ? TOKEN_NAME : TOKEN_TEXT;
        end = behind_quote(at);
        if (end == NULL) {
            (void)wrong(p, at, "a quote that is not closed");
            end = at;
            p->token.kind = TOKEN_END;
        }
    } else if ((*at >= '0' && *at <= '9') || (*at == '.' && at[1] >= '0' && at[1] <= '9')) {
        p->token.kind = TOKEN_NUMBER;
        end = at + number_bytes(at);
    } else if (is_word_byte(*at, true)) {
        p->token.kind = TOKEN_WORD;
        while (is_word_byte(*end, false)) {
            end++;
        }
    } else if (*at != '\0') {
        for (size_t i = 0; i < sizeof signs / sizeof signs[0] && end == at; i++) {
            if (strncmp(at, signs[i], strlen(signs[i])) == 0) {
                p->token.kind = TOKEN_SIGN;
                memcpy(p->token.sign, signs[i], strlen(signs[i]) + 1);
                end = at + strlen(signs[i]);
            }
        }
        if (end == at) {
            (void)wrong(p, at, "what is this?");
        }
    }
    p->token.bytes = (size_t)(end - at);
    p->next = end;
}

static bool is_word(const parser *p, const char *word)
{
    return p->token.kind == TOKEN_WORD && p->token.bytes == strlen(word) &&
           strncasecmp(p->token.at, word, p->token.bytes) == 0;
}

static bool is_sign(const parser *p, const char *sign)
{
    return p->token.kind == TOKEN_SIGN && strcmp(p->token.sign, sign) == 0;
}

static bool take_word(parser *p, const char *word)
{
    bool is = is_word(p, word);

    if (is) {
        advance(p);
    }
    return is;
}

static bool take_sign(parser *p, const char *sign)
{
    bool is = is_sign(p, sign);

    if (is) {
        advance(p);
    }
    return is;
}

static int add_node(parser *p, expr_node node)
{
    if (p->failed) {
        return NOTHING;
    }
    if (p->expr->count == EXPR_NODES_MAX) {
        return wrong(p, p->token.at, "the condition is too long");
    }
    p->expr->node[p->expr->count] = node;
    return (int)p->expr->count++;
}

static int pair(parser *p, expr_kind kind, int left, int right)
{
    if (left < 0 || right < 0) {
        return NOTHING;
    }
    return add_node(p, (expr_node){.kind = kind, .left = (uint32_t)left, .right = (uint32_t)right});
}

static expr_node *node_at(const parser *p, int index)
{
    return &p->expr->node[index];
}

static bool is_condition(const parser *p, int index)
{
    return index >= 0 && node_at(p, index)->kind >= EXPR_EQUAL;
}

/* Between the quotes of the token, doubled ones made single. */
static cairn_field unquoted(parser *p)
{
    char quote = *p->token.at;
    cairn_field field = {p->expr->texts + p->texts_used, 0};

    for (const char *at = p->token.at + 1; at < p->token.at + p->token.bytes - 1; at++) {
        p->expr->texts[p->texts_used++] = *at;
        field.bytes++;
        at += *at == quote;
    }
    p->expr->texts[p->texts_used++] = '\0';
    return field;
}

static int column(parser *p, const char *name)
{
    cairn_expr *e = p->expr;
    uint32_t index, i = 0;
    cairn_error error = {CAIRN_OK, ""};

    if (cairn_find_column(p->columns, name, &index, &error) != CAIRN_OK) {
        return wrong(p, p->token.at, error.text);
    }
    while (i < e->column_count && e->column[i] != index) {
        i++;
    }
    if (i == CAIRN_EXPR_COLUMNS_MAX) {
        return wrong(p, p->token.at, "more than 32 columns");
    }
    if (i == e->column_count) {
        e->column[e->column_count++] = index;
    }
    return add_node(p, (expr_node){.kind = EXPR_COLUMN, .left = i});
}

static bool is_reserved(const parser *p)
{
    static const char *const words[] = {"and", "or", "not", "in", "is", "null"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (is_word(p, words[i])) {
            return true;
        }
    }
    return false;
}

static int condition(parser *p);
static int value(parser *p);

static int name(parser *p)
{
    char text[CAIRN_NAME_BYTES];
    int made;

    if (p->token.kind == TOKEN_NAME) {
        cairn_field field = unquoted(p);
        made = column(p, field.text);
    } else if (is_reserved(p) || p->token.bytes >= sizeof text) {
        return wrong(p, p->token.at, "a value is missing here (a column of that name is put in double quotes)");
    } else {
        (void)snprintf(text, sizeof text, "%.*s", (int)p->token.bytes, p->token.at);
        made = column(p, text);
    }
    advance(p);
    return made;
}

static int literal(parser *p)
{
    int made = NOTHING;

    if (p->token.kind == TOKEN_NUMBER) {
        expr_node node = {.kind = EXPR_NUMBER, .number = cairn_number_parse(p->token.at, p->token.bytes)};
        made = node.number.kind == CAIRN_NUMBER_NONE ? wrong(p, p->token.at, "no number") : add_node(p, node);
    } else {
        made = add_node(p, (expr_node){.kind = EXPR_TEXT, .text = unquoted(p)});
    }
    advance(p);
    return made;
}

static int factor(parser *p)
{
    int made;

    if (++p->depth > DEPTH_MAX) {
        return wrong(p, p->token.at, "too deep");
    }
    if (take_sign(p, "-")) {
        const char *at = p->token.at;
        made = factor(p);
        if (made >= 0 && (node_at(p, made)->kind == EXPR_TEXT || is_condition(p, made))) {
            made = wrong(p, at, "a number is needed behind -");
        }
        made = pair(p, EXPR_MINUS, made, made);
    } else if (take_sign(p, "(")) {
        made = condition(p);
        if (made >= 0 && !take_sign(p, ")")) {
            made = wrong(p, p->token.at, "a ) is missing here");
        }
    } else if (p->token.kind == TOKEN_NUMBER || p->token.kind == TOKEN_TEXT) {
        made = literal(p);
    } else if (p->token.kind == TOKEN_WORD || p->token.kind == TOKEN_NAME) {
        made = name(p);
    } else {
        made =
            wrong(p, p->token.at, p->token.kind == TOKEN_END ? "the condition ends too early" : "a value is missing");
    }
    p->depth--;
    return made;
}

/* Numbers are needed on both sides of a sign. */
static int arithmetic(parser *p, const char *at, expr_kind kind, int left, int right)
{
    for (int i = 0; i < 2; i++) {
        int side = i == 0 ? left : right;
        if (side >= 0 && (node_at(p, side)->kind == EXPR_TEXT || is_condition(p, side))) {
            return wrong(p, at, "arithmetic needs numbers");
        }
    }
    return pair(p, kind, left, right);
}

static int term(parser *p)
{
    int left = factor(p);

    while (left >= 0 && (is_sign(p, "*") || is_sign(p, "/") || is_sign(p, "%"))) {
        const char *at = p->token.at;
        expr_kind kind = is_sign(p, "*") ? EXPR_MULTIPLY : is_sign(p, "/") ? EXPR_DIVIDE : EXPR_REMAINDER;
        advance(p);
        left = arithmetic(p, at, kind, left, factor(p));
    }
    return left;
}

static int value(parser *p)
{
    int left = term(p);

    while (left >= 0 && (is_sign(p, "+") || is_sign(p, "-"))) {
        const char *at = p->token.at;
        expr_kind kind = is_sign(p, "+") ? EXPR_ADD : EXPR_SUBTRACT;
        advance(p);
        left = arithmetic(p, at, kind, left, term(p));
    }
    return left;
}

static bool is_text(const parser *p, int index)
{
    return node_at(p, index)->kind == EXPR_TEXT;
}

static bool is_column(const parser *p, int index)
{
    return node_at(p, index)->kind == EXPR_COLUMN;
}

static bool holds_numbers(const parser *p, int index)
{
    return p->numeric != NULL && p->numeric[p->expr->column[node_at(p, index)->left]];
}

/* Of texts or of numbers, by what stands there. */
static int test(parser *p, const char *at, expr_kind kind, int left, int right)
{
    if (left < 0 || right < 0 || is_condition(p, left) || is_condition(p, right)) {
        return wrong(p, at, "what is compared must be values, not conditions");
    }
    bool text = is_text(p, left) || is_text(p, right);
    if (text && !((is_text(p, left) || is_column(p, left)) && (is_text(p, right) || is_column(p, right)))) {
        return wrong(p, at, "a text is compared with a number");
    }
    if (!text && is_column(p, left) && is_column(p, right)) {
        text = !holds_numbers(p, left) || !holds_numbers(p, right);
    }
    int made = pair(p, kind, left, right);
    if (made >= 0) {
        node_at(p, made)->as_text = text;
    }
    return made;
}

static int negate(parser *p, bool negated, int made)
{
    return negated ? pair(p, EXPR_NOT, made, made) : made;
}

static int in_list(parser *p, int left, bool negated)
{
    int made = NOTHING;

    if (!take_sign(p, "(")) {
        return wrong(p, p->token.at, "a ( is needed behind in");
    }
    do {
        const char *at = p->token.at;
        bool minus = take_sign(p, "-");
        if (p->token.kind != TOKEN_NUMBER && (minus || p->token.kind != TOKEN_TEXT)) {
            return wrong(p, at, "a number or a 'text' is needed here");
        }
        int item = literal(p);
        item = minus ? pair(p, EXPR_MINUS, item, item) : item;
        item = test(p, at, EXPR_EQUAL, left, item);
        made = made < 0 ? item : pair(p, EXPR_OR, made, item);
    } while (made >= 0 && take_sign(p, ","));
    if (made >= 0 && !take_sign(p, ")")) {
        return wrong(p, p->token.at, "a ) is missing here");
    }
    return negate(p, negated, made);
}

static int is_null(parser *p, const char *at, int left)
{
    bool negated = take_word(p, "not");

    if (!take_word(p, "null")) {
        return wrong(p, p->token.at, "null is needed behind is");
    }
    if (left >= 0 && is_condition(p, left)) {
        return wrong(p, at, "is null needs a value");
    }
    int made = pair(p, EXPR_IS_NULL, left, left);
    if (made >= 0) {
        node_at(p, made)->as_text = is_column(p, left) || is_text(p, left); /* text is not null, whatever is in it */
    }
    return negate(p, negated, made);
}

static int starts_with(parser *p)
{
    const char *at = p->token.at;

    advance(p);
    advance(p); /* the ( that was seen */
    int left = value(p), right = NOTHING;
    if (left >= 0 && !is_column(p, left) && !is_text(p, left)) {
        return wrong(p, at, "starts_with needs a column");
    }
    if (left >= 0 && take_sign(p, ",") && p->token.kind == TOKEN_TEXT) {
        right = literal(p);
    }
    if (right < 0 || !take_sign(p, ")")) {
        return wrong(p, p->token.at, "it is starts_with(COLUMN, 'text')");
    }
    return pair(p, EXPR_STARTS, left, right);
}

static int compare(parser *p)
{
    static const struct {
        const char *sign;
        expr_kind kind;
    } signs[] = {{"=", EXPR_EQUAL}, {"==", EXPR_EQUAL},      {"<>", EXPR_UNEQUAL}, {"!=", EXPR_UNEQUAL},
                 {"<", EXPR_LESS},  {"<=", EXPR_LESS_EQUAL}, {">", EXPR_MORE},     {">=", EXPR_MORE_EQUAL}};
    const char *begin = p->token.at, *at;

    if (is_word(p, "starts_with") && p->next[strspn(p->next, " \t")] == '(') {
        return starts_with(p);
    }
    int left = value(p);
    for (size_t i = 0; i < sizeof signs / sizeof signs[0] && left >= 0; i++) {
        at = p->token.at;
        if (take_sign(p, signs[i].sign)) {
            int right = value(p);
            return right < 0 ? NOTHING : test(p, at, signs[i].kind, left, right);
        }
    }
    if (left >= 0 && take_word(p, "is")) {
        return is_null(p, begin, left);
    }
    if (left >= 0 && take_word(p, "in")) {
        return in_list(p, left, false);
    }
    if (left >= 0 && is_word(p, "not")) {
        advance(p);
        return take_word(p, "in") ? in_list(p, left, true) : wrong(p, p->token.at, "in is needed behind not");
    }
    return left;
}

static int needs_condition(parser *p, const char *at, int made)
{
    return made < 0 || is_condition(p, made) ? made : wrong(p, at, "a condition is needed here, such as delay > 10");
}

static int negation(parser *p)
{
    if (!is_word(p, "not")) {
        return compare(p);
    }
    if (++p->depth > DEPTH_MAX) {
        return wrong(p, p->token.at, "too deep");
    }
    advance(p);
    const char *at = p->token.at;
    int made = needs_condition(p, at, negation(p));
    p->depth--;
    return negate(p, true, made);
}

/* In parentheses a value may stand where a condition could: who calls knows which is needed. */
static int joined(parser *p, const char *word, expr_kind kind, int (*part)(parser *))
{
    const char *at = p->token.at;
    int left = part(p);

    while (left >= 0 && is_word(p, word)) {
        left = needs_condition(p, at, left);
        advance(p);
        at = p->token.at;
        left = pair(p, kind, left, needs_condition(p, at, part(p)));
    }
    return left;
}

static int all_of(parser *p)
{
    return joined(p, "and", EXPR_AND, negation);
}

static int condition(parser *p)
{
    return joined(p, "or", EXPR_OR, all_of);
}

cairn_status cairn_expr_parse(cairn_expr **out, const char *text, const cairn_columns *columns, const bool *numeric,
                              cairn_error *error)
{
    parser p = {.text = text, .next = text, .columns = columns, .numeric = numeric, .error = error};

    p.expr = calloc(1, sizeof *p.expr);
    if (p.expr != NULL) {
        p.expr->texts = malloc(strlen(text) + 1);
    }
    if (p.expr == NULL || p.expr->texts == NULL) {
        cairn_expr_free(p.expr);
        return cairn_fail(error, CAIRN_E_NOMEM, "--where");
    }
    advance(&p);
    int root = needs_condition(&p, text, condition(&p));
    if (root >= 0 && p.token.kind != TOKEN_END) {
        root = wrong(&p, p.token.at, "and, or, or the end is needed here");
    }
    if (root < 0 || p.failed) {
        cairn_expr_free(p.expr);
        return CAIRN_E_INVALID;
    }
    *out = p.expr;
    return CAIRN_OK;
}

void cairn_expr_free(cairn_expr *expr)
{
    if (expr != NULL) {
        free(expr->texts);
        free(expr);
    }
}

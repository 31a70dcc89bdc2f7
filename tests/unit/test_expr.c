/* Goal: --where means what expr.h says, and what it cannot take is told with its place.
 * Method: a table of conditions and what they are of one row; laws of three-valued logic and of arithmetic on random
 * rows; rubbish. */
#include "dataset/expr.h"
#include "support/unit.h"

static char *names[] = {"origin", "delay", "n", "m", "odd name", "and", "empty"};
static const bool numeric[] = {false, true, true, true, false, false, false};
static const cairn_columns columns = {7, names};
static const char *values[] = {"ATL", "-12.5", "7", "2", "it's", "x", ""};
static cairn_note bad[CAIRN_EXPR_COLUMNS_MAX];

static bool holds(const char *text, const char *const *row)
{
    cairn_expr *expr = NULL;
    cairn_error error = {CAIRN_OK, ""};
    cairn_field field[7];
    uint32_t slot[CAIRN_EXPR_COLUMNS_MAX];
    const uint32_t *column;

    if (cairn_expr_parse(&expr, text, &columns, numeric, &error) != CAIRN_OK) {
        fprintf(stderr, "%s: %s\n", text, error.text);
        CU_FAIL("refused");
        return false;
    }
    for (size_t i = 0; i < 7; i++) {
        field[i] = (cairn_field){row[i], strlen(row[i])};
    }
    uint32_t count = cairn_expr_columns(expr, &column);
    memcpy(slot, column, count * sizeof *slot);
    memset(bad, 0, sizeof bad);
    cairn_expr_row about = {.field = field, .slot = slot, .bad = bad, .block = 3, .row = 5};
    bool is = cairn_expr_holds(expr, &about);
    cairn_expr_free(expr);
    return is;
}

static void conditions_are_what_they_say(void)
{
    static const struct {
        const char *text;
        char is; /* y: true; n: false; u: unknown, so its opposite is not true either */
    } cases[] = {
        {"origin = 'ATL'", 'y'},
        {"'ATL' == origin", 'y'},
        {"origin <> 'ATL'", 'n'},
        {"origin != 'AT'", 'y'},
        {"origin < 'ATLA' and origin > 'AT'", 'y'},
        {"delay < -12 and delay <= -12.5 and delay >= -125e-1", 'y'},
        {"delay > -12.5", 'n'},
        {"delay = -12.50", 'y'},
        {"delay = '-12.50'", 'n'},
        {"delay = '-12.5'", 'y'},
        {"-delay = 12.5", 'y'},
        {"n + m * 2 = 11", 'y'},
        {"(n + m) * 2 = 18", 'y'},
        {"n - m - 1 = 4", 'y'},
        {"n / m = 3.5 and n % m = 1 and -n % m = -1", 'y'},
        {"n / 0 = 1", 'u'},
        {"n % 0 = 1", 'u'},
        {"1 / 3 * 3 = 1", 'y'},
        {"0.1 + 0.2 = 0.3", 'y'},
        {"37 / 370 > 0.1", 'n'},
        {"n / 3 > 2.333333333 and n / 3 < 2.333333334", 'y'},
        {"n > m", 'y'},
        {"origin = \"odd name\"", 'n'},
        {"\"odd name\" = 'it''s'", 'y'},
        {"\"and\" = 'x'", 'y'},
        {"origin in ('JFK', 'ATL')", 'y'},
        {"origin not in ('JFK', 'ATL')", 'n'},
        {"n in (-7, 7.0)", 'y'},
        {"n not in (1, 2)", 'y'},
        {"n + 1 in (8)", 'y'},
        {"empty is null", 'y'},
        {"origin Is Not Null", 'y'},
        {"n / 0 is null", 'y'},
        {"n / 2 is not null", 'y'},
        {"empty = ''", 'u'},
        {"empty < 5", 'u'},
        {"empty in ('a')", 'u'},
        {"empty = 'x' and n = 1", 'n'},
        {"empty = 'x' and n = 7", 'u'},
        {"empty = 'x' or n = 7", 'y'},
        {"empty = 'x' or n = 1", 'u'},
        {"not empty = 'x'", 'u'},
        {"not not n = 7", 'y'},
        {"not n = 7 or m = 2", 'y'},
        {"not (n = 7 or m = 2)", 'n'},
        {"n = 1 or n = 7 and m = 3", 'n'},
        {"(n = 1 or n = 7) and m = 2", 'y'},
        {"starts_with(origin, 'AT')", 'y'},
        {"starts_with(origin, 'ATLX')", 'n'},
        {"starts_with(origin, '')", 'y'},
        {"not STARTS_WITH(empty, '')", 'u'},
        {"n > 9007199254740993", 'n'},
        {"n * 1e300 * 1e300 = 1", 'u'},
        {"origin > 5", 'u'},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char opposite[200];
        (void)snprintf(opposite, sizeof opposite, "not (%s)", cases[i].text);
        bool is = holds(cases[i].text, values), is_not = holds(opposite, values);
        if (is != (cases[i].is == 'y') || is_not != (cases[i].is == 'n')) {
            fprintf(stderr, "%s: %d, its opposite %d\n", cases[i].text, is, is_not);
            CU_FAIL("another truth");
        }
    }
}

static void text_for_a_number_is_noted_once(void)
{
    CU_ASSERT(!holds("origin in (1, 2, 3) or origin + 1 > 2 or n = 1", values));
    CU_ASSERT(bad[0].count == 1 && bad[0].block == 3 && bad[0].row == 5 && strcmp(bad[0].text, "ATL") == 0);
    CU_ASSERT(bad[1].count == 0);
    CU_ASSERT(!holds("empty > 1", values) && bad[0].count == 0);
}

static void what_is_wrong_is_told_with_its_place(void)
{
    static const struct {
        const char *text;
        unsigned place;
        const char *what;
    } cases[] = {
        {"", 1, "ends too early"},
        {"n =", 4, "ends too early"},
        {"nope = 1", 1, "no column named nope; the columns are: origin, delay"},
        {"n = 1 and", 10, "ends too early"},
        {"n = 1 m = 2", 7, "and, or, or the end"},
        {"(n = 1", 7, "a ) is missing"},
        {"n = 'x", 5, "a quote that is not closed"},
        {"n = 1 ; m = 2", 7, "what is this?"},
        {"n", 1, "a condition is needed"},
        {"n and m = 1", 1, "a condition is needed"},
        {"m = 1 or n", 10, "a condition is needed"},
        {"not n", 5, "a condition is needed"},
        {"'a' + 1 = 2", 5, "arithmetic needs numbers"},
        {"(n = 1) + 1 = 2", 9, "arithmetic needs numbers"},
        {"-'a' = 1", 2, "a number is needed"},
        {"n + 1 = 'a'", 7, "a text is compared with a number"},
        {"1 = 'a'", 3, "a text is compared with a number"},
        {"(n = 1) = 1", 9, "values, not conditions"},
        {"n in 1", 6, "a ( is needed"},
        {"n in (m)", 7, "a number or a 'text'"},
        {"n in (1", 8, "a ) is missing"},
        {"n is 1", 6, "null is needed"},
        {"n not 1", 7, "in is needed"},
        {"null = 1", 1, "a value is missing here"},
        {"n = 1.2.3", 5, "no number"},
        {"starts_with(n + 1, 'a')", 1, "starts_with needs a column"},
        {"starts_with(origin)", 19, "starts_with(COLUMN, 'text')"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cairn_expr *expr = NULL;
        cairn_error error = {CAIRN_OK, ""};
        char place[60];
        cairn_status status = cairn_expr_parse(&expr, cases[i].text, &columns, numeric, &error);

        (void)snprintf(place, sizeof place, "--where: character %u: ", cases[i].place);
        if (status != CAIRN_E_INVALID || strncmp(error.text, place, strlen(place)) != 0 ||
            strstr(error.text, cases[i].what) == NULL) {
            fprintf(stderr, "%s: %s\n", cases[i].text, error.text);
            CU_FAIL("another error");
        }
    }
}

static uint64_t rng_state = 0x9e3779b97f4a7c15u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static void laws_hold_on_random_rows(void)
{
    static const char *const laws[][2] = {
        {"not (n < m and delay < n)", "n >= m or not delay < n"},
        {"not (n = m or origin = 'a')", "n <> m and origin <> 'a'"},
        {"n in (1, 3)", "n = 1 or n = 3"},
        {"n not in (1, 3)", "n <> 1 and n <> 3"},
        {"n + m > delay", "delay < m + n"},
        {"(n + m) * 3 = 6", "n * 3 + m * 3 = 6"},
        {"n - m = 0", "n = m"},
        {"n is null or n <= 2", "not n > 2 or not n is not null"},
        {"n % 2 = 0 and n > 0", "n in (2, 4, 6, 8)"},
        {"starts_with(origin, 'a')", "origin = 'a' or origin = 'ab'"},
    };
    static const char *const numbers[] = {"", "0", "1", "2", "3", "-4", "2.5", "8", "1e0", "0.5"};
    static const char *const texts[] = {"", "a", "ab", "b"};

    for (int i = 0; i < 3000; i++) {
        const char *row[7] = {
            texts[rng() % 4], numbers[rng() % 10], numbers[rng() % 10], numbers[rng() % 10], texts[rng() % 4], "x", ""};
        for (size_t k = 0; k < sizeof laws / sizeof laws[0]; k++) {
            if (holds(laws[k][0], row) != holds(laws[k][1], row)) {
                fprintf(stderr, "%s, but %s: %s %s %s %s\n", laws[k][0], laws[k][1], row[0], row[1], row[2], row[3]);
                CU_FAIL("a law is broken");
                return;
            }
        }
    }
}

/* Pieces of the language in any order: an answer or an error, and no crash. */
static void rubbish_is_refused_or_taken(void)
{
    static const char *const pieces[] = {"n",   "origin",      "'a'",  "\"and\"", "1",  "2.5e3", "(", ")",
                                         "and", "or",          "not",  "in",      "is", "null",  ",", "=",
                                         "<",   ">=",          "+",    "-",       "*",  "/",     "%", "'",
                                         "\"",  "starts_with", "\xff", "1e",      "..", "<>"};
    unsigned taken = 0;

    for (int i = 0; i < 60000; i++) {
        char text[400] = "";
        cairn_expr *expr = NULL;
        cairn_error error = {CAIRN_OK, ""};
        size_t count = 1 + rng() % 9;

        for (size_t k = 0; k < count; k++) {
            strcat(text, pieces[rng() % (sizeof pieces / sizeof pieces[0])]);
            strcat(text, rng() % 4 == 0 ? "" : " ");
        }
        if (cairn_expr_parse(&expr, text, &columns, numeric, &error) == CAIRN_OK) {
            taken++;
            cairn_expr_free(expr);
            (void)holds(text, values);
        } else {
            CU_ASSERT(strncmp(error.text, "--where: character ", 19) == 0);
        }
    }
    CU_ASSERT(taken > 20);
    char deep[3000];
    memset(deep, '(', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    cairn_expr *expr = NULL;
    cairn_error error = {CAIRN_OK, ""};
    CU_ASSERT(cairn_expr_parse(&expr, deep, &columns, numeric, &error) == CAIRN_E_INVALID);
    CU_ASSERT(strstr(error.text, "too deep") != NULL);
}

UNIT_MAIN("expr", {"conditions", conditions_are_what_they_say}, {"text for a number", text_for_a_number_is_noted_once},
          {"errors", what_is_wrong_is_told_with_its_place}, {"laws", laws_hold_on_random_rows},
          {"rubbish", rubbish_is_refused_or_taken})

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers as text; see xendm/numbers.h. */
#include <errno.h>
#include <string.h>

#include <glib.h>

#include <xendm/numbers.h>

static const char *skip_prefix(const char *text)
{
    return text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? text + 2 : text;
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    const char *digits = skip_prefix(text);
    bool hex = digits != text;
    char *end;
    uint64_t v;

    /* g_ascii_strtoull() would take a sign and leading space. */
    if (!(hex ? g_ascii_isxdigit(*digits) : g_ascii_isdigit(*digits))) {
        return -EINVAL;
    }
    errno = 0;
    v = g_ascii_strtoull(digits, &end, hex ? 16 : 10);
    if (*end) {
        return -EINVAL;
    }
    if (errno == ERANGE || v < min || v > max) {
        return -ERANGE;
    }
    *value = v;
    return 0;
}

int number_parse_hex(const char *text, uint64_t max, uint64_t *value, const char **end)
{
    const char *digits = skip_prefix(text);
    char *stop;
    uint64_t v;

    if (!g_ascii_isxdigit(*digits)) {
        return -EINVAL;
    }
    errno = 0;
    v = g_ascii_strtoull(digits, &stop, 16);
    if (!end && *stop) {
        return -EINVAL;
    }
    if (errno == ERANGE || v > max) {
        return -ERANGE;
    }
    if (end) {
        *end = stop;
    }
    *value = v;
    return 0;
}

int number_parse_size(const char *text, uint64_t unit, uint64_t max, uint64_t *bytes)
{
    static const char letters[] = "KMGT";
    g_autofree char *digits = g_strdup(text);
    size_t len = strlen(digits);
    const char *letter = len ? strchr(letters, g_ascii_toupper(digits[len - 1])) : NULL;
    uint64_t number;
    int rc;

    if (letter) {
        digits[len - 1] = '\0';
        unit = UINT64_C(1) << (10 * (letter - letters + 1));
    }
    rc = number_parse(digits, 1, max / unit, &number);
    if (rc == 0) {
        *bytes = number * unit;
    }
    return rc;
}

int bool_parse(const char *text, bool *value)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i & 1;
            return 0;
        }
    }
    return -EINVAL;
}

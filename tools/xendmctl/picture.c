/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures of screens; see picture.h. APNG: https://wiki.mozilla.org/APNG_Specification */
#include <stdbool.h>
#include <string.h>

#include <png.h>
#include <zlib.h>

#include <xendm/bytes.h>
#include <xendm/firmware.h>

#include "picture.h"

#define PIXEL 3u
#define PICTURE_MAX 16384u /* pixels, either way */

/* ---- reading ---- */

static picture_t *finish(png_image *image, GError **err)
{
    picture_t *p;

    if (image->warning_or_error > 1 || image->width > PICTURE_MAX || image->height > PICTURE_MAX) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_INVAL, "no PNG: %s",
                    *image->message ? image->message : "too large");
        png_image_free(image);
        return NULL;
    }
    image->format = PNG_FORMAT_RGB;
    p = g_new0(picture_t, 1);
    p->width = image->width;
    p->height = image->height;
    p->pixels = g_malloc0(PNG_IMAGE_SIZE(*image));
    if (!png_image_finish_read(image, NULL, p->pixels, 0, NULL)) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_INVAL, "no whole PNG: %s", image->message);
        picture_free(p);
        return NULL;
    }
    return p;
}

picture_t *picture_of(const GByteArray *png, GError **err)
{
    png_image image = {.version = PNG_IMAGE_VERSION};

    png_image_begin_read_from_memory(&image, png->data, png->len);
    return finish(&image, err);
}

picture_t *picture_read(const char *path, GError **err)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    picture_t *p;

    png_image_begin_read_from_file(&image, path);
    p = finish(&image, err);
    g_prefix_error(err, "%s: ", path);
    return p;
}

void picture_free(picture_t *p)
{
    if (p) {
        g_free(p->pixels);
        g_free(p);
    }
}

static const uint8_t *at(const picture_t *p, unsigned x, unsigned y)
{
    return p->pixels + ((size_t)y * p->width + x) * PIXEL;
}

/* ---- comparing ---- */

static bool has(const picture_t *p, const struct rectangle *r)
{
    return r->width > 0 && r->height > 0 && r->x < p->width && r->width <= p->width - r->x &&
           r->y < p->height && r->height <= p->height - r->y;
}

double picture_difference(const picture_t *a, const picture_t *b, const struct rectangle *where)
{
    size_t different = 0;

    if (!has(a, where) || !has(b, where)) {
        return 100;
    }
    for (unsigned y = where->y; y < where->y + where->height; y++) {
        for (unsigned x = where->x; x < where->x + where->width; x++) {
            different += memcmp(at(a, x, y), at(b, x, y), PIXEL) != 0;
        }
    }
    return (double)different * 100 / ((double)where->width * where->height);
}

/* ---- reading text ---- */

#define BIOS "vgabios-cirrus.bin"
#define GLYPH_ROWS 16u
#define GLYPH_WIDTH 8u
#define FIRST ' '
#define LAST '~'
#define DOUBT 14u /* so many pixels more than these differ: it is no character of the font */

struct glyph {
    uint64_t half[2];
};

/* The font begins with a blank and a face. */
static const uint8_t font_start[] = {0,    0,    0,    0,    0,    0,    0,    0,   0,    0,
                                     0,    0,    0,    0,    0,    0,    0,    0,   0x7e, 0x81,
                                     0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};

static struct glyph of_rows(const uint8_t *rows)
{
    struct glyph g = {{0, 0}};

    for (unsigned i = 0; i < GLYPH_ROWS; i++) {
        g.half[i / 8] = g.half[i / 8] << 8 | rows[i];
    }
    return g;
}

static bool load_font(struct glyph font[LAST + 1])
{
    g_autofree char *path = firmware_find(firmware_dirs(), BIOS), *data = NULL;
    const char *start;
    gsize size;

    if (!g_file_get_contents(path, &data, &size, NULL)) {
        return false;
    }
    start = memmem(data, size, font_start, sizeof(font_start));
    if (!start || (gsize)(data + size - start) < (LAST + 1) * GLYPH_ROWS) {
        return false;
    }
    for (unsigned c = FIRST; c <= LAST; c++) {
        font[c] = of_rows((const uint8_t *)start + c * GLYPH_ROWS);
    }
    return true;
}

/* What is not of the cell's commonest colour is drawn. */
static struct glyph cell(const picture_t *p, unsigned left, unsigned top)
{
    const uint8_t *ground = at(p, left, top);
    unsigned most = 0;
    uint8_t rows[GLYPH_ROWS] = {0};

    for (unsigned i = 0; i < GLYPH_ROWS * GLYPH_WIDTH && most <= GLYPH_ROWS * GLYPH_WIDTH / 2;
         i++) {
        const uint8_t *colour = at(p, left + i % GLYPH_WIDTH, top + i / GLYPH_WIDTH);
        unsigned n = 0;

        for (unsigned k = 0; k < GLYPH_ROWS * GLYPH_WIDTH; k++) {
            n += memcmp(at(p, left + k % GLYPH_WIDTH, top + k / GLYPH_WIDTH), colour, PIXEL) == 0;
        }
        if (n > most) {
            most = n;
            ground = colour;
        }
    }
    for (unsigned i = 0; i < GLYPH_ROWS * GLYPH_WIDTH; i++) {
        if (memcmp(at(p, left + i % GLYPH_WIDTH, top + i / GLYPH_WIDTH), ground, PIXEL) != 0) {
            rows[i / GLYPH_WIDTH] |= (uint8_t)(0x80 >> i % GLYPH_WIDTH);
        }
    }
    return of_rows(rows);
}

static char likest(const struct glyph font[LAST + 1], struct glyph g)
{
    unsigned best = DOUBT + 1;
    char found = '?';

    for (unsigned c = FIRST; c <= LAST; c++) {
        unsigned different = (unsigned)__builtin_popcountll(g.half[0] ^ font[c].half[0]) +
                             (unsigned)__builtin_popcountll(g.half[1] ^ font[c].half[1]);

        if (different < best) {
            best = different;
            found = (char)c;
        }
    }
    return found;
}

char *picture_text(const picture_t *p)
{
    unsigned width = p->width == 720 ? 9 : 8; /* text modes have cells of nine pixels */
    struct glyph font[LAST + 1];
    GString *text = g_string_new(NULL);

    if (!load_font(font)) {
        g_string_free(text, TRUE);
        return NULL;
    }
    for (unsigned top = 0; top + GLYPH_ROWS <= p->height; top += GLYPH_ROWS) {
        for (unsigned left = 0; left + width <= p->width; left += width) {
            g_string_append_c(text, likest(font, cell(p, left, top)));
        }
        while (text->len > 0 && text->str[text->len - 1] == ' ') {
            g_string_truncate(text, text->len - 1);
        }
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}

/* ---- in a terminal ---- */

void picture_show(const picture_t *p, unsigned columns, FILE *to)
{
    unsigned step = MAX((p->width + columns - 1) / columns, 1u);

    for (unsigned y = 0; y < p->height; y += 2 * step) {
        for (unsigned x = 0; x < p->width; x += step) {
            const uint8_t *upper = at(p, x, y), *lower = at(p, x, MIN(y + step, p->height - 1));

            fprintf(to, "\033[38;2;%u;%u;%um\033[48;2;%u;%u;%um\342\226\200", upper[0], upper[1],
                    upper[2], lower[0], lower[1], lower[2]);
        }
        fprintf(to, "\033[0m\n");
    }
}

/* ---- a film ---- */

#define SIGNATURE 8u
#define CHUNK_AROUND 12u /* length, name, sum */

static void add_be32(GByteArray *to, uint32_t value)
{
    uint8_t bytes[4];

    store_be32(bytes, value);
    g_byte_array_append(to, bytes, sizeof(bytes));
}

static void add_be16(GByteArray *to, uint32_t value)
{
    uint8_t bytes[2];

    store_be16(bytes, value);
    g_byte_array_append(to, bytes, sizeof(bytes));
}

static void add_chunk(GByteArray *to, const char *name, const GByteArray *head, const uint8_t *data,
                      uint32_t size)
{
    guint start;

    add_be32(to, (head ? head->len : 0) + size);
    start = to->len;
    g_byte_array_append(to, (const guint8 *)name, 4);
    if (head) {
        g_byte_array_append(to, head->data, head->len);
    }
    g_byte_array_append(to, data, size);
    add_be32(to, (uint32_t)crc32(0, to->data + start, to->len - start));
}

/* The next chunk of that name from `from` on; NULL: there is none. */
static const uint8_t *find_chunk(const GByteArray *png, const char *name, size_t *from)
{
    while (*from + CHUNK_AROUND <= png->len) {
        const uint8_t *chunk = png->data + *from;
        uint32_t size = load_be32(chunk);

        if (size > png->len - *from - CHUNK_AROUND) {
            break;
        }
        *from += CHUNK_AROUND + size;
        if (memcmp(chunk + 4, name, 4) == 0) {
            return chunk;
        }
    }
    return NULL;
}

static const uint8_t *header(const GByteArray *png)
{
    size_t from = SIGNATURE;
    const uint8_t *chunk = find_chunk(png, "IHDR", &from);

    return chunk && load_be32(chunk) == 13 ? chunk + 8 : NULL;
}

/* fcTL: which frame, its size and place, how long, and that it stands alone. */
static void add_control(GByteArray *to, uint32_t *sequence, const uint8_t *size, guint ms)
{
    g_autoptr(GByteArray) head = g_byte_array_new();

    add_be32(head, (*sequence)++);
    g_byte_array_append(head, size, 8);
    add_be32(head, 0);
    add_be32(head, 0);
    add_be16(head, MIN(ms, 65535u));
    add_be16(head, 1000);
    add_be16(head, 1 << 8); /* cleared after it; not mixed with what was before */
    add_chunk(to, "fcTL", head, NULL, 0);
}

static void add_frame(GByteArray *to, const GByteArray *png, bool first, uint32_t *sequence)
{
    size_t from = SIGNATURE;
    const uint8_t *chunk;

    while ((chunk = find_chunk(png, "IDAT", &from))) {
        g_autoptr(GByteArray) head = g_byte_array_new();

        if (!first) {
            add_be32(head, (*sequence)++);
        }
        add_chunk(to, first ? "IDAT" : "fdAT", head, chunk + 8, load_be32(chunk));
    }
}

/* The first frame is as large as the film; smaller ones are in its corner, larger ones left out. */
GByteArray *picture_film(GPtrArray *frames, const GArray *milliseconds)
{
    GByteArray *film;
    g_autoptr(GByteArray) count = g_byte_array_new();
    g_autoptr(GPtrArray) fit = g_ptr_array_new();
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(guint));
    const uint8_t *first = frames->len ? header(g_ptr_array_index(frames, 0)) : NULL;
    uint32_t sequence = 0;

    for (guint i = 0; first && i < frames->len; i++) {
        const uint8_t *size = header(g_ptr_array_index(frames, i));

        if (size && load_be32(size) <= load_be32(first) &&
            load_be32(size + 4) <= load_be32(first + 4) && memcmp(size + 8, first + 8, 5) == 0) {
            g_ptr_array_add(fit, g_ptr_array_index(frames, i));
            g_array_append_val(times, g_array_index(milliseconds, guint, i));
        }
    }
    if (fit->len == 0) {
        return NULL;
    }
    film = g_byte_array_new();
    g_byte_array_append(film, ((GByteArray *)g_ptr_array_index(fit, 0))->data, SIGNATURE);
    add_chunk(film, "IHDR", NULL, first, 13);
    add_be32(count, fit->len);
    add_be32(count, 0); /* again and again */
    add_chunk(film, "acTL", count, NULL, 0);
    for (guint i = 0; i < fit->len; i++) {
        const GByteArray *png = g_ptr_array_index(fit, i);

        add_control(film, &sequence, header(png), g_array_index(times, guint, i));
        add_frame(film, png, i == 0, &sequence);
    }
    add_chunk(film, "IEND", NULL, NULL, 0);
    return film;
}

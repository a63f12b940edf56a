/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files of the screen, row by row: PNG by libpng, and binary PPM. */
#include <errno.h>
#include <setjmp.h>

#include <glib.h>
#include <png.h>

#include "picture.h"

static void row_to_rgb(const uint32_t *pixels, unsigned width, uint8_t *rgb)
{
    for (unsigned x = 0; x < width; x++) {
        *rgb++ = (uint8_t)(pixels[x] >> 16);
        *rgb++ = (uint8_t)(pixels[x] >> 8);
        *rgb++ = (uint8_t)pixels[x];
    }
}

struct picture {
    FILE *out;
    unsigned width;
    uint8_t *rgb;    /* one row */
    png_structp png; /* NULL: a PPM */
    png_infop info;
    int error;
};

static void on_error(png_structp png, png_const_charp message)
{
    struct picture *p = png_get_error_ptr(png);

    p->error = errno ? errno : EIO;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
}

/* libpng leaves by longjmp: nothing that outlives that is in local variables of these functions. */
static void png_begin(struct picture *p, unsigned height)
{
    p->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, p, on_error, on_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info) {
        p->error = ENOMEM;
        return;
    }
    if (setjmp(png_jmpbuf(p->png))) {
        return;
    }
    png_init_io(p->png, p->out);
    /* A screen packs well at any level; time matters more. */
    png_set_compression_level(p->png, 3);
    png_set_IHDR(p->png, p->info, p->width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(p->png, p->info);
}

static void png_row(struct picture *p)
{
    if (!setjmp(png_jmpbuf(p->png))) {
        png_write_row(p->png, p->rgb);
    }
}

static void png_end(struct picture *p)
{
    if (!setjmp(png_jmpbuf(p->png))) {
        png_write_end(p->png, p->info);
    }
}

struct picture *picture_begin(FILE *out, bool png, unsigned width, unsigned height, int *error)
{
    struct picture *p = g_new0(struct picture, 1);

    errno = 0;
    p->out = out;
    p->width = width;
    p->rgb = g_malloc((size_t)width * 3);
    if (png) {
        png_begin(p, height);
    } else if (fprintf(out, "P6\n%u %u\n255\n", width, height) < 0) {
        p->error = errno ? errno : EIO;
    }
    *error = p->error;
    if (p->error) {
        picture_end(p, false);
        return NULL;
    }
    return p;
}

int picture_row(struct picture *p, const uint32_t *pixels)
{
    errno = 0;
    row_to_rgb(pixels, p->width, p->rgb);
    if (p->png) {
        png_row(p);
    } else if (fwrite(p->rgb, 3, p->width, p->out) != p->width) {
        p->error = errno ? errno : EIO;
    }
    return p->error;
}

int picture_end(struct picture *p, bool complete)
{
    int error;

    errno = 0;
    if (p->png && complete && p->error == 0) {
        png_end(p);
    }
    error = p->error;
    if (p->png) {
        png_destroy_write_struct(&p->png, &p->info);
    }
    g_free(p->rgb);
    g_free(p);
    return error;
}

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

/* libpng leaves by longjmp: everything that outlives that lives in here. */
struct png_job {
    png_structp png;
    png_infop info;
    uint8_t *rgb;
    int error;
};

static void on_error(png_structp png, png_const_charp message)
{
    struct png_job *job = png_get_error_ptr(png);
    (void)message;
    job->error = errno ? errno : EIO;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void write_png(struct png_job *job, FILE *out, const uint32_t *pixels, unsigned width,
                      unsigned height)
{
    if (setjmp(png_jmpbuf(job->png))) {
        return;
    }
    png_init_io(job->png, out);
    png_set_compression_level(job->png,
                              3); /* a screen packs well at any level; time matters more */
    png_set_IHDR(job->png, job->info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(job->png, job->info);
    for (unsigned y = 0; y < height; y++) {
        row_to_rgb(pixels + (size_t)y * width, width, job->rgb);
        png_write_row(job->png, job->rgb);
    }
    png_write_end(job->png, job->info);
}

int picture_write_png(FILE *out, const uint32_t *pixels, unsigned width, unsigned height)
{
    struct png_job job = {0};

    errno = 0;
    job.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    job.info = job.png ? png_create_info_struct(job.png) : NULL;
    if (!job.info) {
        job.error = ENOMEM;
    } else {
        job.rgb = g_malloc((size_t)width * 3);
        write_png(&job, out, pixels, width, height);
        g_free(job.rgb);
    }
    png_destroy_write_struct(&job.png, &job.info);
    return job.error;
}

int picture_write_ppm(FILE *out, const uint32_t *pixels, unsigned width, unsigned height)
{
    uint8_t *rgb = g_malloc((size_t)width * 3);
    int error = 0;

    if (fprintf(out, "P6\n%u %u\n255\n", width, height) < 0) {
        error = errno;
    }
    for (unsigned y = 0; y < height && error == 0; y++) {
        row_to_rgb(pixels + (size_t)y * width, width, rgb);
        if (fwrite(rgb, 3, width, out) != width) {
            error = errno ? errno : EIO;
        }
    }
    g_free(rgb);
    return error;
}

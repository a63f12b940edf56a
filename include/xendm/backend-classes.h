/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every driver of a back end there is. A new one adds one line here; backends/classes.c makes the
 * table of it, in this order.
 */
#ifndef XENDM_BACKEND_CLASSES_H
#define XENDM_BACKEND_CLASSES_H

#include <xendm/backend.h>

#define BACKEND_CLASSES(X) \
    X(block_raw_class)         /* backends/block/block.c: file or device as it is */ \
    X(block_host_device_class) /* the same: a block device */ \
    X(block_nbd_class)         /* backends/block/nbd.c, like those that follow */ \
    X(block_qcow2_class) \
    X(block_vpc_class) \
    X(block_qed_class) \
    X(block_vmdk_class) \
    X(block_remote_class) \
    X(audio_none_class)  /* backends/audio/audio.c */ \
    X(audio_wav_class)   /* backends/audio/wav.c */ \
    X(chardev_pty_class) /* backends/char/chardev.c, like all that follow */ \
    X(chardev_file_class) \
    X(chardev_pipe_class) \
    X(chardev_serial_class) \
    X(chardev_stdio_class) \
    X(chardev_null_class) \
    X(chardev_socket_class) \
    X(blob_file_class)   /* backends/blob/blob.c */ \
    X(fsdev_local_class) /* backends/p9/share.c */ \
    X(backend_net_socket) \
    X(backend_net_tap)

#define X(c) extern const struct backend_class c;
BACKEND_CLASSES(X)
#undef X

#endif

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The block tests once more, with the engine for kernels without io_uring.
XENDM_BLOCK_ENGINE=threads exec "$XENDM_BUILDDIR/tests/unit/test-block" --tap

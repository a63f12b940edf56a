# SPDX-License-Identifier: GPL-2.0-or-later
"""What tools/bench is made of: a file for each group of figures, and what they share."""

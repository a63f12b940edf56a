/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "slot.function" as text; see pci.h. Apart from the bus, for those who only read command lines. */
#include <xendm/numbers.h>
#include <xendm/pci.h>

bool pci_addr_parse(const char *text, int *devfn)
{
    uint64_t slot, function = 0;
    const char *rest;

    if (number_parse_hex(text, 31, &slot, &rest) < 0 ||
        (*rest && (*rest != '.' || number_parse_hex(rest + 1, 7, &function, NULL) < 0))) {
        return false;
    }
    *devfn = PCI_DEVFN(slot, function);
    return true;
}

# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# make              build the module for the running kernel, or KDIR=tree
# make demo         two tunnels between two sites, on real traffic, in a VM
# make check        all tests; make check-long: at full size
# make bench        measure beside the in-tree module: table, JSON, charts
# make tools        build wgtrunk, the manager
# make install      install both: the module for the running kernel (or KVER,
#                   MODLIB), the manager to PREFIX (/usr/local); under DESTDIR
# make uninstall    remove both: the in-tree module is back
# make install-module, install-tools, uninstall-module, uninstall-tools: one of them
# make clean        remove what was built, but not the cache

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
MODLIB ?= $(DESTDIR)/lib/modules/$(KVER)

all: module

module:
	@test -e $(KDIR)/Makefile || { \
		echo "wgtrunk: no kernel headers at $(KDIR)." >&2; \
		echo "Install linux-headers-$(KVER), or say KDIR=tree." >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

tools:
	@$(MAKE) -C tools/wgtrunk || { \
		echo "wgtrunk: needs the packages that scripts/setup --list tool prints" >&2; exit 1; }

demo:
	scripts/demo

check: check-needs
	tests/run

check-long: check-needs
	tests/run --long

check-needs:
	scripts/setup build vm lint arm64 uml bench tool
	scripts/build -q 6.1 6.12 6.12-rt
	$(MAKE) -s -C tests/tools
	$(MAKE) -s -C tests/poke
	$(MAKE) -s -C bench/tools
	$(MAKE) -s -C tools/wgtrunk

bench:
	bench/run

# Both are built before either is installed.
install: module tools
	$(MAKE) install-module
	$(MAKE) install-tools

install-tools: tools
	$(MAKE) -C tools/wgtrunk install

uninstall: uninstall-tools uninstall-module

uninstall-tools:
	$(MAKE) -C tools/wgtrunk uninstall

install-module: module
	install -D -m 644 wireguard.ko $(MODLIB)/updates/wireguard.ko
	@if [ -z "$(DESTDIR)" ]; then depmod $(KVER); fi
	@if [ -z "$(DESTDIR)" ] && [ -d /sys/module/wireguard ]; then \
		echo "A wireguard module is loaded already. To change over:"; \
		echo "  take its interfaces down, then rmmod wireguard && modprobe wireguard"; fi

uninstall-module:
	rm -f $(MODLIB)/updates/wireguard.ko
	@if [ -z "$(DESTDIR)" ]; then depmod $(KVER); fi
	@echo "The in-tree module is used from the next time that wireguard is loaded:"
	@echo "  take the interfaces down, then rmmod wireguard && modprobe wireguard"

clean:
	$(MAKE) -s -C tools/wgtrunk clean
	rm -rf build
	find . -path ./.git -prune -o \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o \
		-name '*.mod.c' -o -name '.*.cmd' \) -print | xargs -r rm -f
	rm -f Module.symvers modules.order

.PHONY: all module tools demo check check-long check-needs bench clean install install-module install-tools \
	uninstall uninstall-module uninstall-tools

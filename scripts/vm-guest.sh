# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The wgtrunk authors
#
# What scripts/vm brings into its guest, as segments of an initramfs, each made
# once and kept in the cache folder. To be sourced after lib.sh. Each function
# NAME_segment prints a folder: `cpio` there is the segment.

# The programs of the guest; what is missing on this machine is left out.
programs=(
	bash sh dash busybox env
	# coreutils and the like
	basename cat chgrp chmod chown cksum comm cp cut date dd df dirname du
	echo expand expr factor false fmt fold groups head hostname id install
	join kill link ln logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl
	nohup nproc numfmt od paste pathchk pinky pr printenv printf pwd
	readlink realpath rm rmdir seq sha1sum sha256sum sha512sum shred shuf
	sleep sort split stat stdbuf stty sum sync tac tail tee test timeout
	touch tr true truncate tsort tty uname unexpand uniq unlink users wc who
	whoami yes '[' b2sum base32 base64
	grep egrep fgrep sed awk mawk gawk find xargs diff cmp diff3 tar gzip
	gunzip zcat xz unxz zstd which clear tput reset tset less more
	column hexdump xxd rev
	# util-linux, procps, kmod
	mount umount mountpoint findmnt unshare nsenter lsns setpriv dmesg
	taskset chrt flock script setsid prlimit losetup lsblk blkid getopt
	ionice renice mcookie uuidgen logger lscpu fallocate choom chroot su
	ps pgrep pkill pidof pidwait top free vmstat uptime w watch sysctl pmap
	slabtop tload skill snice fuser killall pstree
	modprobe insmod rmmod lsmod modinfo depmod kmod
	mkfs.ext4 mke2fs tune2fs e2fsck
	# network
	ip ss tc bridge nstat ifstat lnstat rtacct ctstat devlink rdma
	wg wg-quick wireguard-go iperf3 nft
	iptables iptables-save iptables-restore ip6tables ip6tables-save
	ip6tables-restore iptables-legacy iptables-legacy-save
	iptables-legacy-restore ip6tables-legacy ip6tables-legacy-save
	ip6tables-legacy-restore iptables-nft ip6tables-nft arptables ebtables
	ipset conntrack ping ping6 ping4 arping ncat nc nc.openbsd socat tcpdump
	ethtool getent
	# tracing and looking
	jq strace ldconfig ldd
)

# Folders and files that those need.
data=(
	/usr/lib/x86_64-linux-gnu/xtables /usr/lib/tc /usr/share/iproute2
	/etc/iproute2 /etc/protocols /etc/services /etc/rpc /etc/ethertypes
	/etc/nsswitch.conf /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d
	/etc/xattr.conf /etc/host.conf /etc/gai.conf /lib/terminfo
	/etc/alternatives/awk
	/usr/lib/x86_64-linux-gnu/libgcc_s.so.1
	/usr/lib/x86_64-linux-gnu/libnss_files.so.2
	/usr/libexec/coreutils/libstdbuf.so
	/usr/lib/x86_64-linux-gnu/ossl-modules
)

# Of the kernel's modules, the folders that are left out to keep it small.
skipped_modules=(
	drivers/{gpu,infiniband,usb,scsi,media,hid,input,nvme,mmc,video,hv,xen}
	drivers/{acpi,ata,edac,cpufreq,idle,i2c,iommu,leds,mfd,nvdimm,pci,dax}
	drivers/{platform,powercap,rtc,target,thermal,tty,uio,vfio,watchdog}
	drivers/{md,nvmem,parport,power,pwm,regulator,remoteproc,rpmsg,soc}
	drivers/net/{ethernet,wireless,phy,mdio,pcs,usb,can,fddi,hippi,ieee802154}
	drivers/net/{hyperv,wwan,slip,thunderbolt,xen-netback,arcnet,fjes}
	fs/{afs,bcachefs,btrfs,ceph,cifs,coda,dlm,ecryptfs,exfat,ext2,f2fs,fat}
	fs/{gfs2,hfs,hfsplus,hpfs,isofs,jffs2,jfs,lockd,minix,nfs,nfs_common}
	fs/{nfsd,nilfs2,ntfs,ntfs3,ocfs2,orangefs,qnx4,qnx6,quota,reiserfs,romfs}
	fs/{smb,smbfs_common,sysv,ubifs,udf,ufs,vboxsf,xfs,zonefs,affs,adfs,befs}
	fs/{bfs,cachefiles,cramfs,efs,erofs,freevxfs,omfs,afs,fscache,pstore}
	net/{bluetooth,ceph,mac80211,wireless,nfc,rxrpc,sunrpc,tipc,rds,smc,can}
	net/{ieee802154,mac802154,6lowpan,atm,appletalk,ax25,rose,netrom,x25}
	net/{lapb,phonet,caif,batman-adv,sctp,dccp,rfkill}
	arch/x86/kvm sound
)

# guest_version: part of all keys, so that a change here makes all anew.
guest_version()
{
	cksum <"$WGTRUNK_ROOT/scripts/vm-guest.sh"
}

# with_links PATH...: prints the paths with all symbolic links' targets, their
# folders resolved.
with_links()
{
	local path target dir

	for path; do
		while :; do
			dir=$(realpath "${path%/*}/")
			path=${dir%/}/${path##*/}
			printf '%s\n' "$path"
			[[ -L $path ]] || break
			target=$(readlink "$path")
			[[ $target == /* ]] || target=$dir/$target
			path=$target
		done
	done
}

# libraries_of FILE...: prints the shared libraries that the files load.
libraries_of()
{
	{ ldd "$@" 2>/dev/null || :; } | awk '
		$2 == "=>" && $3 ~ /^\// { print $3 }
		$1 ~ /^\/.*ld-linux/ && $2 ~ /^\(/ { print $1 }' | sort -u
}

# archive FOLDER FILE: packs all that is in FOLDER as an initramfs segment.
archive()
{
	(cd "$1" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio -0 -o -H newc -R 0:0 --reproducible --quiet) >"$2"
}

# fill_programs FOLDER KEY-INPUT...: the segment that is the same for all.
fill_programs()
{
	local dir=$1 root=$1/root path files=() libs=()
	shift

	progress "packing the guest's programs"
	mkdir -p "$root"/{usr/{bin,sbin,lib,lib64,local/bin},etc,root,mnt,tmp}
	mkdir -p "$root"/{proc,sys,dev,run,var/tmp,var/lib,wgtrunk}
	ln -s usr/bin "$root/bin"
	ln -s usr/sbin "$root/sbin"
	ln -s usr/lib "$root/lib"
	ln -s usr/lib64 "$root/lib64"
	ln -s /run "$root/var/run"

	mapfile -t files < <(for path; do
		[[ ! -e $path ]] || find "$path" ! -type d
	done)
	mapfile -t libs < <(libraries_of "${files[@]}")
	with_links "${files[@]}" "${libs[@]}" | sort -u |
		cpio -pdm --quiet "$root"

	cat >"$root/etc/passwd" <<-'END'
		root:x:0:0:root:/root:/bin/bash
		daemon:x:1:1:daemon:/:/bin/false
		tcpdump:x:100:100::/nonexistent:/bin/false
		nobody:x:65534:65534:nobody:/nonexistent:/bin/false
	END
	cat >"$root/etc/group" <<-'END'
		root:x:0:
		daemon:x:1:
		tty:x:5:
		tcpdump:x:100:
		nogroup:x:65534:
	END
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
	cat >"$root/etc/wgtrunk-vm.rc" <<-'END'
		PS1='\[\e[1m\]\h:\w\$\[\e[0m\] '
		HISTFILE=
		alias ll='ls -l' ls='ls --color=auto'
		printf 'Kernel %s, module: %s. Ctrl-D or exit ends it.\n' \
			"$(uname -r)" "$WGTRUNK_MODULE"
	END
	archive "$root" "$dir/cpio"
	rm -rf "$root"
}

# programs_segment TOOL...: prints the path of the segment of programs.
programs_segment()
{
	local name path paths=() key

	for name in "${programs[@]}" "$@"; do
		if [[ $name == */* ]]; then
			[[ -e $name ]] || die "no $name on this machine"
			paths+=("$(realpath "$name")")
		elif path=$(type -P "$name"); then
			paths+=("$path")
		fi
	done
	for name; do
		[[ $name == */* ]] || type -P "$name" >/dev/null ||
			die "no program $name on this machine"
	done
	paths+=("${data[@]}")
	key=$(key_of "$(guest_version)" "$(stat -L -c '%n %s %Y' "${paths[@]}" \
		/etc/ld.so.cache 2>/dev/null || :)")
	cached "vm/programs-$key" fill_programs "${paths[@]}"
}

# fill_modules FOLDER IMAGE RELEASE SKIPPED...: a stock kernel's modules, made
# uncompressed: that is quicker to load in the guest.
fill_modules()
{
	local dir=$1 image=$2 release=$3 root=$1/root path
	local to=$1/root/usr/lib/modules/$3
	shift 3

	progress "packing the modules of $release"
	mkdir -p "$root/usr/lib/modules"
	cp -r "$image/lib/modules/$release" "$to"
	rm -f "$to"/{build,source}
	for path; do
		rm -rf "$to/kernel/$path"
	done
	find "$to" -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P 2 xz -d
	depmod -b "$root/usr" "$release"
	archive "$root" "$dir/cpio"
	# What is left serves to index the modules with another one added.
}

# modules_segment RELEASE IMAGE: prints the path of the modules' segment.
modules_segment()
{
	local release=$1 image=$2

	cached "vm/modules-$release-$(key_of "$(guest_version)" "$image")" \
		fill_modules "$image" "$release" "${skipped_modules[@]}"
}

# fill_index FOLDER MODULES RELEASE KO: the stock modules' index with our
# module, which is in updates/ and so comes first.
fill_index()
{
	local dir=$1 modules=$2 release=$3 ko=$4 tree=$1/tree/lib/modules/$3

	progress "indexing the modules of $release with ours"
	mkdir -p "$dir/tree/lib/modules" "$dir/root/usr/lib/modules/$release"
	cp -rl "$modules/root/usr/lib/modules/$release" "$tree" 2>/dev/null ||
		cp -r "$modules/root/usr/lib/modules/$release" "$tree"
	# The index files are links to those of the original.
	find "$tree" -maxdepth 1 -name 'modules.*' ! -name 'modules.order' \
		! -name 'modules.builtin*' -delete
	mkdir "$tree/updates"
	cp "$ko" "$tree/updates/wireguard.ko"
	depmod -b "$dir/tree" "$release"
	modinfo -b "$dir/tree" -k "$release" -F filename wireguard |
		grep -q /updates/ || die "depmod does not prefer updates/"
	cp -r "$tree"/{updates,modules.*} "$dir/root/usr/lib/modules/$release/"
	archive "$dir/root" "$dir/cpio"
	rm -rf "$dir/tree" "$dir/root"
}

# own_module_segment RELEASE MODULES KO: prints the path of the segment with our
# module; MODULES is what modules_segment printed.
own_module_segment()
{
	local release=$1 modules=$2 module=$3 made_for

	made_for=$(modinfo -F vermagic "$module")
	[[ ${made_for%% *} == "$release" ]] ||
		die "$module is for ${made_for%% *}, the kernel is $release"
	cached "vm/own-$release-$(key_of "$(sha256sum <"$module")" \
		"$modules" "$(guest_version)")" \
		fill_index "$modules" "$release" "$module"
}

# fill_python FOLDER PACKAGE...: the files of the packages, and of those of
# Python's that they depend on.
fill_python()
{
	local dir=$1 root=$1/root package files=() libs=()
	local -A seen=()
	local todo=("${@:2}")

	progress "packing python3"
	mkdir -p "$root"
	while ((${#todo[@]})); do
		package=${todo[0]}
		todo=("${todo[@]:1}")
		[[ -z ${seen[$package]:-} ]] || continue
		seen[$package]=1
		mapfile -t -O "${#todo[@]}" todo < <(dpkg-query -W \
			-f '${Pre-Depends},${Depends}\n' "$package" |
			tr ',|' '\n' | sed -E 's/^ *//; s/[ :(].*//' |
			grep -E '^(lib)?python3' || :)
	done
	mapfile -t files < <(for package in "${!seen[@]}"; do
		dpkg-query -L "$package" 2>/dev/null || :
	done | grep -E '^/usr/(lib|bin)/|^/etc/python' |
		grep -vE '/(test|tests|idlelib|lib2to3|ensurepip|tkinter)/' |
		sort -u | while read -r path; do
		[[ -f $path || -L $path ]] || continue
		printf '%s\n' "$path"
		if [[ $path == *.py ]]; then
			path=${path%/*}/__pycache__/${path##*/}
			compgen -G "${path%.py}.cpython-*.pyc" || :
		fi
	done)
	mapfile -t libs < <(printf '%s\n' "${files[@]}" |
		grep -E '/bin/|\.so(\.|$)' | libraries_of_list)
	with_links "${files[@]}" "${libs[@]}" | sort -u |
		cpio -pdm --quiet "$root"
	archive "$root" "$dir/cpio"
	rm -rf "$root"
}

libraries_of_list()
{
	local files

	mapfile -t files
	libraries_of "${files[@]}"
}

# python_segment: prints the path of the segment with python3.
python_segment()
{
	# cffi: cryptography depends on it by a virtual name only
	local packages=(python3 python3-scapy python3-cryptography python3-cffi-backend)

	cached "vm/python-$(key_of "$(guest_version)" \
		"${packages[*]}" "$(dpkg-query -W 'python3*' 'libpython3*' libssl3)")" \
		fill_python "${packages[@]}"
}

# fill_wg_segment FOLDER WG: the newer wg, which brings its C library along.
fill_wg_segment()
{
	local dir=$1 from=${2%/*} root=$1/root

	mkdir -p "$root/usr/local/lib/wg" "$root/usr/local/bin"
	cp -r "$from/wg" "$from/lib" "$root/usr/local/lib/wg/"
	ln -s ../lib/wg/wg "$root/usr/local/bin/wg"
	archive "$root" "$dir/cpio"
	rm -rf "$root"
}

# wg_segment: prints the path of the segment with the newer wg.
wg_segment()
{
	local wg

	wg=$("$WGTRUNK_ROOT/scripts/kernel" wg)
	cached "vm/wg-$(key_of "$wg" "$(guest_version)")" fill_wg_segment "$wg"
}


#!/bin/bash
# dracut module of cOS: cos-init and what it needs to find a disk, verify the root image on it and
# mount it. Installed by `cos init`. dracut 059 to 106 and later.

# Called by dracut: the module goes in where it is asked for by name.
check() {
    require_binaries cos-init || return 1
    return 255
}

# Whether the image has all that data are encrypted with; what is missing is said by `cos build --encrypt`.
can_encrypt() {
    local name
    for name in cryptsetup systemd-cryptenroll dmsetup mke2fs systemd-ask-password; do
        find_binary "$name" > /dev/null || return 1
    done
    for name in esys rc tcti-device; do
        has_library "libtss2-$name.so" || return 1
    done
    # Debian 12 has it beside systemd, Debian 13 where programs are.
    find_binary systemd-cryptsetup > /dev/null || [[ -x "$dracutsysrootdir$systemdutildir/systemd-cryptsetup" ]]
}

# dracut's list of the directories that libraries are in.
has_library() {
    local directory
    for directory in $libdirs; do
        compgen -G "$dracutsysrootdir$directory/$1.*" > /dev/null && return 0
    done
    return 1
}

depends() {
    echo base systemd systemd-initrd dracut-systemd udev-rules rootfs-block fs-lib shutdown
    if can_encrypt; then
        echo systemd-ask-password
    fi
}

# Kernel modules: whatever a disk may hang on, and what the root image is made of. Named one by one
# and not taken by the hundred from kernel-modules, so that the initrd stays small: its size is paid
# for at every boot.
installkernel() {
    local -a root=(
        loop dm-mod dm-verity erofs lz4 lz4_decompress zstd_decompress zstd xxhash_generic sha256
        sha256_generic "=arch/${DRACUT_ARCH:-$(uname -m)}/crypto/sha256"
        overlay ext4 crc32c crc32c_generic mbcache jbd2
        xfs btrfs
        efivarfs vfat nls_cp437 nls_iso8859-1 nls_ascii nls_utf8 isofs cdrom
    )
    local -a disks=(
        virtio_blk virtio_scsi virtio_pci virtio_mmio nvme
        ahci ata_piix ata_generic sd_mod sr_mod
        usb-storage uas xhci-pci xhci-hcd ehci-pci ehci-hcd ohci-pci uhci-hcd
        mmc_block sdhci sdhci-acpi sdhci-pci
        hv_storvsc hv_vmbus pci-hyperv xen-blkfront xen-scsifront vmw_pvscsi mptspi mptsas mpt3sas
        megaraid_sas aacraid hpsa smartpqi
        phy-generic dw_mmc bcm2835 sdhci-iproc sdhci-of-arasan sdhci-tegra pcie-brcmstb
    )
    # What a person types on at the emergency shell.
    local -a consoles=(virtio_console hid-generic usbhid i8042 atkbd)
    # -s: a kernel that has one built in, or not at all, is no error.
    hostonly='' instmods -s "${root[@]}" "${disks[@]}" "${consoles[@]}"
    if can_encrypt; then
        hostonly='' instmods -s dm-crypt aes aes_generic aesni_intel aes-arm64 aes-ce-blk xts ecb cbc \
            algif_skcipher algif_hash af_alg tpm tpm_tis tpm_crb tpm_tis_spi tpm_ftpm_tee
    fi
}

# Programs that encrypt and unlock, and the libraries that they load by name when they need them.
install_encryption() {
    inst_multiple cryptsetup systemd-cryptenroll dmsetup mke2fs
    inst_multiple -o systemd-cryptsetup "$systemdutildir/systemd-cryptsetup" /etc/mke2fs.conf
    inst_libdir_file "libcryptsetup.so.*" "cryptsetup/libcryptsetup-token-systemd-tpm2.so" \
        "libtss2-esys.so.*" "libtss2-rc.so.*" "libtss2-mu.so.*" "libtss2-sys.so.*" \
        "libtss2-tcti-device.so.*" "libgcc_s.so.*" "ossl-modules/legacy.so"
    # Without these, device-mapper waits for ever for udev. Not dracut's module dm: it brings every RAID there is.
    inst_rules 10-dm.rules 13-dm-disk.rules 55-dm.rules 60-persistent-storage-dm.rules 95-dm-notify.rules
    # Says to `cos build --encrypt` that this initrd can.
    mkdir -p "$initdir/usr/lib/cos"
    : > "$initdir/usr/lib/cos/encryption"
}

install() {
    inst_binary cos-init /usr/bin/cos-init
    # For a file system in need after a power cut; the machine boots without it.
    inst_multiple -o e2fsck
    if can_encrypt; then
        install_encryption
    fi
    inst_simple "$moddir/cos-init.service" "$systemdsystemunitdir/cos-init.service"
    inst_simple "$moddir/cos-failure.service" "$systemdsystemunitdir/cos-failure.service"
    inst_simple "$moddir/61-cos.rules" "$udevdir/rules.d/61-cos.rules"
    mkdir -p "$initdir$systemdsystemunitdir/initrd-root-fs.target.requires"
    ln -sf ../cos-init.service "$initdir$systemdsystemunitdir/initrd-root-fs.target.requires/cos-init.service"
    # Before 99-parse-root.sh and the like judge root=.
    inst_hook cmdline 10 "$moddir/cos-cmdline.sh"
}

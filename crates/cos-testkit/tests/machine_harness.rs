//! The harness itself, against a boot sector that needs nothing else.

use cos_testkit::machine::{Builder, Firmware, Machine};
use std::time::Duration;

const SOON: Duration = Duration::from_mins(1);

/// Real-mode code for the first sector. It adds one to the first byte of the second sector and
/// writes it back (INT 13h), says `boot `, that byte and a newline on the serial port (INT 14h),
/// then answers every character with the one after it.
#[rustfmt::skip]
const BOOT_SECTOR: &[u8] = &[
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,   // cli; ds = es = ss = 0
    0xbc, 0x00, 0x7c, 0xfb, 0xfc, 0x52,                     // sp = 0x7c00; sti; cld; push dx
    0x31, 0xd2, 0xb8, 0xe3, 0x00, 0xcd, 0x14, 0x5a,         // COM1: 9600 8N1; pop dx
    0xb8, 0x01, 0x02, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00,   // read sector 2 to 0x8000
    0x30, 0xf6, 0x52, 0xcd, 0x13, 0x5a,
    0xfe, 0x06, 0x00, 0x80,                                 // inc byte [0x8000]
    0xb8, 0x01, 0x03, 0xbb, 0x00, 0x80, 0xb9, 0x02, 0x00, 0xcd, 0x13, // write it back
    0x31, 0xd2, 0xbe, 0x63, 0x7c,                           // si = message
    0xac, 0x84, 0xc0, 0x74, 0x06, 0xb4, 0x01, 0xcd, 0x14, 0xeb, 0xf5, // print to its zero
    0xa0, 0x00, 0x80, 0xb4, 0x01, 0xcd, 0x14,               // print the byte
    0xb0, 0x0a, 0xb4, 0x01, 0xcd, 0x14,                     // and a newline
    0xb4, 0x02, 0xcd, 0x14, 0xf6, 0xc4, 0x80, 0x75, 0xf7,   // wait for a character
    0xfe, 0xc0, 0xb4, 0x01, 0xcd, 0x14, 0xeb, 0xef,         // print the next one; again
    0x1b, b'[', b'1', b'm', b'b', b'o', b'o', b't', b' ', 0,
];

#[test]
fn a_machine_boots_talks_and_keeps_its_writes_to_itself() -> anyhow::Result<()> {
    if let Some(reason) = Builder::missing(Firmware::Bios) {
        cos_testkit::skip(
            "a_machine_boots_talks_and_keeps_its_writes_to_itself",
            &reason,
        );
        return Ok(());
    }
    let dir = cos_testkit::temp_dir()?;
    let image = dir.path().join("disk.img");
    let mut disk = vec![0; 1 << 20];
    disk[..BOOT_SECTOR.len()].copy_from_slice(BOOT_SECTOR);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[512] = b'A';
    fs_err::write(&image, &disk)?;

    let mut machine = Machine::builder("testkit-harness")
        .disk(&image)
        .memory(64)
        .boot()?;
    machine.expect("boot B\n", SOON)?;
    machine.send_line("HAL")?;
    machine.expect("IBM", SOON)?;

    machine.power_cycle()?;
    machine.expect("boot C\n", SOON)?;
    let log = machine.log();
    let error = machine
        .expect("never said", Duration::from_millis(300))
        .unwrap_err();
    assert!(format!("{error:#}").contains("boot C"), "{error:#}");
    drop(machine);

    assert!(
        fs_err::read(&image)? == disk,
        "the image itself was written"
    );
    let said = fs_err::read_to_string(log)?;
    assert!(
        said.contains("boot B") && said.contains("boot C") && !said.contains('\x1b'),
        "{said}"
    );
    Ok(())
}

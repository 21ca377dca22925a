//! What a TPM will measure, and the signatures over it: as systemd-measure computes them.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and runs other people's tools"
)]

use cos_efi::{
    BootMeasurement, Image, MeasuredSection, PolicyKey, Uki, UkiParts, UkiPolicy, sign_measurements,
};
use cos_testkit::tools::{find_tool, missing};
use cos_testkit::{process, skip, temp_dir};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Where distributions keep it.
const MEASURE: [&str; 2] = [
    "/usr/lib/systemd/systemd-measure",
    "/lib/systemd/systemd-measure",
];
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// A key that is made once for all tests.
fn key() -> &'static PolicyKey {
    static KEY: OnceLock<PolicyKey> = OnceLock::new();
    KEY.get_or_init(|| PolicyKey::generate().unwrap())
}

fn measure() -> Option<PathBuf> {
    MEASURE.iter().map(PathBuf::from).find(|path| path.exists())
}

/// Major version of the tool, which measures what the stub of that version does.
fn version(tool: &Path) -> u32 {
    let said = process::text(Command::new(tool).arg("--version")).unwrap();
    let number = said.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// Sections, each in a file of its own for the tool.
struct Sections {
    directory: tempfile::TempDir,
    contents: Vec<(&'static str, Vec<u8>)>,
}

impl Sections {
    fn new() -> Self {
        let directory = temp_dir().unwrap();
        let contents = vec![
            ("initrd", (0..100_003_u32).map(|n| (n * 7) as u8).collect()),
            ("linux", b"a kernel".repeat(999)),
            ("osrel", b"ID=cos\nPRETTY_NAME=\"x\"\n".to_vec()),
            ("cmdline", b"cos.sealed cos.roothash=00".to_vec()),
            ("pcrpkey", key().public_pem().as_bytes().to_vec()),
        ];
        for (name, contents) in &contents {
            std::fs::write(directory.path().join(name), contents).unwrap();
        }
        Self {
            directory,
            contents,
        }
    }

    /// In the tool's words.
    fn arguments(&self) -> Vec<String> {
        let argument = |name| format!("--{name}={}", self.directory.path().join(name).display());
        self.contents
            .iter()
            .map(|(name, _)| argument(name))
            .collect()
    }

    fn measured(&self, version: u32) -> BootMeasurement {
        let names: Vec<String> = self
            .contents
            .iter()
            .map(|(name, _)| format!(".{name}"))
            .collect();
        let sections: Vec<MeasuredSection<'_>> = names
            .iter()
            .zip(&self.contents)
            .map(|(name, (_, contents))| MeasuredSection::new(name, contents))
            .collect();
        BootMeasurement::of_sections(version, &sections)
    }
}

#[test]
fn the_register_is_what_systemd_measure_says() {
    const TEST: &str = "the_register_is_what_systemd_measure_says";
    let Some(tool) = measure() else {
        skip(TEST, "systemd-measure is not installed (package systemd)");
        return;
    };
    let sections = Sections::new();
    let said = process::text(
        Command::new(&tool)
            .args(["calculate", "--bank=sha256", "--phase=:"])
            .args(["--phase=enter-initrd", "--phase=enter-initrd:leave-initrd"])
            .args(sections.arguments()),
    )
    .unwrap();
    let theirs: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("11:sha256="))
        .collect();
    let start = sections.measured(version(&tool));
    let initrd = start.then("enter-initrd");
    let ours = [start, initrd, initrd.then("leave-initrd")].map(|it| hex::encode(it.value()));
    assert_eq!(theirs, ours);
}

/// A TPM for the tool, which ends with the test.
struct Swtpm {
    child: Child,
    port: u16,
}

impl Swtpm {
    fn start(tool: &Path, state: &Path) -> Self {
        // Two ports that are free: its control channel takes the next one.
        let port = (20_000..40_000)
            .step_by(2)
            .find(|&port| [port, port + 1].iter().all(|&port| is_free(port)))
            .unwrap();
        let child = Command::new(tool)
            .args(["socket", "--tpm2", "--flags=not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", state.display())])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { child, port };
        while is_free(port) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        started
    }
}

fn is_free(port: u16) -> bool {
    std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn the_signatures_are_those_of_systemd_measure() {
    const TEST: &str = "the_signatures_are_those_of_systemd_measure";
    let (Some(tool), Some(swtpm)) = (measure(), find_tool("swtpm")) else {
        skip(TEST, &format!("systemd-measure, or {}", missing("swtpm")));
        return;
    };
    let sections = Sections::new();
    let directory = sections.directory.path();
    let state = directory.join("tpm");
    std::fs::create_dir(&state).unwrap();
    let tpm = Swtpm::start(&swtpm, &state);
    let private = directory.join("private.pem");
    std::fs::write(&private, key().private_pem().unwrap()).unwrap();
    let theirs = process::text(
        Command::new(&tool)
            .args(["sign", "--bank=sha256", "--phase=:", "--phase=enter-initrd"])
            .args(sections.arguments())
            .arg(format!("--private-key={}", private.display()))
            .arg(format!(
                "--public-key={}",
                directory.join("pcrpkey").display()
            ))
            .arg(format!(
                "--tpm2-device=swtpm:host=127.0.0.1,port={}",
                tpm.port
            )),
    );
    let Ok(theirs) = theirs else {
        skip(TEST, &format!("systemd-measure cannot: {theirs:?}"));
        return;
    };
    let start = sections.measured(version(&tool));
    let ours = sign_measurements(key(), &[start, start.then("enter-initrd")]).unwrap();
    assert_eq!(ours.trim(), theirs.trim());
}

#[test]
fn an_image_carries_signatures_over_itself() {
    const TEST: &str = "an_image_carries_signatures_over_itself";
    if !Path::new(STUB).exists() {
        skip(
            TEST,
            &format!("{STUB} is missing (package systemd-boot-efi)"),
        );
        return;
    }
    let stub = std::fs::read(STUB).unwrap();
    let parts = UkiParts {
        stub: &stub,
        os_release: "ID=cos\n",
        command_line: "cos.sealed",
        release: "6.12.0",
        kernel: b"a kernel",
        initrd: b"an initrd",
        policy: Some(UkiPolicy {
            key: key(),
            phases: &[&[], &["enter-initrd"]],
        }),
    };
    let image = Uki::build(&parts).unwrap().into_image();
    assert_eq!(
        image.section(".pcrpkey").unwrap(),
        key().public_pem().as_bytes()
    );
    // Measured from the finished program, as the stub finds it in memory.
    let sections: Vec<MeasuredSection<'_>> = image
        .sections()
        .iter()
        .map(|section| MeasuredSection {
            name: &section.name,
            contents: image.section(&section.name).unwrap(),
            memory: u64::from(section.virtual_size),
        })
        .collect();
    let magic = String::from_utf8_lossy(image.section(".sdmagic").unwrap()).into_owned();
    let version = magic.split("systemd-stub ").nth(1).unwrap();
    let version = version.split('.').next().unwrap().parse().unwrap();
    let start = BootMeasurement::of_sections(version, &sections);
    let wanted = sign_measurements(key(), &[start, start.then("enter-initrd")]).unwrap();
    assert_eq!(image.section(".pcrsig").unwrap(), wanted.as_bytes());
    assert_eq!(
        Uki::build(&parts).unwrap().image(),
        &Image::parse(image.into_bytes()).unwrap(),
        "the same bytes every time"
    );

    let other = UkiParts {
        stub: &std::fs::read("/usr/lib/systemd/boot/efi/systemd-bootx64.efi").unwrap(),
        ..parts
    };
    let error = Uki::build(&other).unwrap_err();
    assert!(error.to_string().contains("systemd-stub"), "{error}");
}

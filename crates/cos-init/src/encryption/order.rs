//! In which order data are encrypted, so that a power cut anywhere leaves something that is gone on with, and so
//! that nobody gets data in by cutting.
//!
//! ```text
//! COS_PERSISTENT           COS_OEM
//! plain, empty             plain              first boot
//! half made                plain              begun anew: nothing of value is in it
//! encrypted, OEM pending   anything           COS_OEM's contents lie in COS_PERSISTENT: it is made anew of them
//! encrypted                encrypted          unlocked
//! ```
//!
//! What is half made says so in its LUKS header, where everybody can write it: so that means beginning anew, and
//! no more. That COS_OEM is pending is said inside COS_PERSISTENT, where only this machine can.

/// What COS_PERSISTENT is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistent {
    /// A file system without data.
    Plain,
    /// Encrypting it was begun.
    HalfMade,
    /// Encrypted, and that was completed.
    Encrypted,
}

/// What is done to the two partitions; each is an effect on the disk.
pub(super) trait Partitions {
    /// Why something could not be done.
    type Error;

    /// Looks at COS_PERSISTENT. One that is plain and has data is an error.
    fn persistent(&mut self) -> Result<Persistent, Self::Error>;
    /// Makes sure that COS_OEM is not encrypted, and so not another COS_PERSISTENT's.
    fn expect_plain_oem(&mut self) -> Result<(), Self::Error>;
    /// Makes COS_PERSISTENT a half made one, with a passing key.
    fn begin(&mut self) -> Result<(), Self::Error>;
    /// Adds the ways to unlock it that stay, each proven, and leaves it open by one of them.
    fn enrol(&mut self) -> Result<(), Self::Error>;
    /// Makes its file system, with COS_OEM's contents and its key in it.
    fn fill(&mut self) -> Result<(), Self::Error>;
    /// Takes the passing key away.
    fn drop_passing_key(&mut self) -> Result<(), Self::Error>;
    /// Makes it an encrypted one: the commit.
    fn commit(&mut self) -> Result<(), Self::Error>;
    /// Opens an encrypted one by what was enrolled.
    fn unlock_persistent(&mut self) -> Result<(), Self::Error>;
    /// Whether COS_OEM is still to be made, as the open COS_PERSISTENT says.
    fn is_oem_pending(&mut self) -> Result<bool, Self::Error>;
    /// Makes COS_OEM an encrypted one with the contents that lie in COS_PERSISTENT, whatever is there.
    fn make_oem(&mut self) -> Result<(), Self::Error>;
    /// Says in COS_PERSISTENT that COS_OEM is made.
    fn oem_is_made(&mut self) -> Result<(), Self::Error>;
    /// Opens COS_OEM by its key. Anything but the one that belongs to COS_PERSISTENT is an error.
    fn unlock_oem(&mut self) -> Result<(), Self::Error>;
}

/// Unlocks both partitions, encrypting them first where they are not.
pub(super) fn run<P: Partitions>(partitions: &mut P) -> Result<(), P::Error> {
    match partitions.persistent()? {
        Persistent::Encrypted => partitions.unlock_persistent()?,
        Persistent::Plain | Persistent::HalfMade => {
            partitions.expect_plain_oem()?;
            partitions.begin()?;
            partitions.enrol()?;
            partitions.fill()?;
            partitions.drop_passing_key()?;
            partitions.commit()?;
        }
    }
    if partitions.is_oem_pending()? {
        partitions.make_oem()?;
        partitions.oem_is_made()?;
    }
    partitions.unlock_oem()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Oem {
        Plain(&'static str),
        /// Whatever a cut left.
        Torn,
        Encrypted {
            key: u32,
            contents: Option<&'static str>,
        },
    }

    /// A disk, as it survives a cut.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Disk {
        persistent: Persistent,
        /// Keys that open COS_PERSISTENT.
        passing: bool,
        enrolled: bool,
        /// What is in COS_PERSISTENT.
        oem_key: Option<u32>,
        pending: Option<&'static str>,
        oem: Oem,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Stop {
        Cut,
        Refused(&'static str),
    }

    /// A boot, which a cut ends after so many writes.
    struct Boot<'d> {
        disk: &'d mut Disk,
        writes_left: usize,
        open: bool,
        oem_open: bool,
    }

    impl Boot<'_> {
        fn write(&mut self, change: impl FnOnce(&mut Disk)) -> Result<(), Stop> {
            if self.writes_left == 0 {
                return Err(Stop::Cut);
            }
            self.writes_left -= 1;
            change(self.disk);
            Ok(())
        }
    }

    impl Partitions for Boot<'_> {
        type Error = Stop;

        fn persistent(&mut self) -> Result<Persistent, Stop> {
            Ok(self.disk.persistent)
        }

        fn expect_plain_oem(&mut self) -> Result<(), Stop> {
            match self.disk.oem {
                Oem::Plain(_) => Ok(()),
                _ => Err(Stop::Refused("COS_PERSISTENT was replaced")),
            }
        }

        fn begin(&mut self) -> Result<(), Stop> {
            self.write(|disk| {
                disk.persistent = Persistent::HalfMade;
                (disk.passing, disk.enrolled) = (false, false);
                (disk.oem_key, disk.pending) = (None, None);
            })?;
            self.write(|disk| disk.passing = true)
        }

        fn enrol(&mut self) -> Result<(), Stop> {
            assert!(self.disk.passing);
            self.write(|disk| disk.enrolled = true)?;
            self.open = true;
            Ok(())
        }

        fn fill(&mut self) -> Result<(), Stop> {
            assert!(self.open);
            self.write(|disk| disk.oem_key = Some(7))?;
            self.write(|disk| {
                let Oem::Plain(contents) = disk.oem else {
                    panic!("{:?} is no COS_OEM to be copied", disk.oem)
                };
                disk.pending = Some(contents);
            })
        }

        fn drop_passing_key(&mut self) -> Result<(), Stop> {
            assert!(self.disk.enrolled, "nothing else would open it");
            self.write(|disk| disk.passing = false)
        }

        fn commit(&mut self) -> Result<(), Stop> {
            assert!(!self.disk.passing && self.disk.pending.is_some());
            self.write(|disk| disk.persistent = Persistent::Encrypted)
        }

        fn unlock_persistent(&mut self) -> Result<(), Stop> {
            if !self.disk.enrolled {
                return Err(Stop::Refused("nothing opens it"));
            }
            self.open = true;
            Ok(())
        }

        fn is_oem_pending(&mut self) -> Result<bool, Stop> {
            assert!(self.open);
            Ok(self.disk.pending.is_some())
        }

        fn make_oem(&mut self) -> Result<(), Stop> {
            self.write(|disk| disk.oem = Oem::Torn)?;
            let key = self.disk.oem_key.unwrap();
            let made = |contents| Oem::Encrypted { key, contents };
            self.write(|disk| disk.oem = made(None))?;
            self.write(|disk| disk.oem = made(disk.pending))
        }

        fn oem_is_made(&mut self) -> Result<(), Stop> {
            self.write(|disk| disk.pending = None)
        }

        fn unlock_oem(&mut self) -> Result<(), Stop> {
            match self.disk.oem {
                Oem::Encrypted { key, .. } if self.disk.oem_key == Some(key) => {
                    self.oem_open = true;
                    Ok(())
                }
                _ => Err(Stop::Refused("COS_OEM was replaced")),
            }
        }
    }

    fn boot(disk: &mut Disk, writes: usize) -> Result<(), Stop> {
        let mut boot = Boot {
            disk,
            writes_left: writes,
            open: false,
            oem_open: false,
        };
        run(&mut boot)?;
        assert!(boot.open && boot.oem_open);
        Ok(())
    }

    fn new() -> Disk {
        Disk {
            persistent: Persistent::Plain,
            passing: false,
            enrolled: false,
            oem_key: None,
            pending: None,
            oem: Oem::Plain("user-data"),
        }
    }

    fn done() -> Disk {
        Disk {
            persistent: Persistent::Encrypted,
            passing: false,
            enrolled: true,
            oem_key: Some(7),
            pending: None,
            oem: Oem::Encrypted {
                key: 7,
                contents: Some("user-data"),
            },
        }
    }

    #[test]
    fn every_two_cuts_are_gone_on_from() {
        let mut whole = new();
        boot(&mut whole, usize::MAX).unwrap();
        assert_eq!(whole, done());
        let cuts = 0..16;
        for (first, second) in cuts.clone().flat_map(|a| cuts.clone().map(move |b| (a, b))) {
            let mut disk = new();
            let ended = [boot(&mut disk, first), boot(&mut disk, second)];
            assert!(
                ended.iter().all(|it| matches!(it, Ok(()) | Err(Stop::Cut))),
                "{first}, {second}: {ended:?}"
            );
            boot(&mut disk, usize::MAX).unwrap();
            assert_eq!(disk, done(), "{first}, {second}");
        }
    }

    #[test]
    fn a_boot_of_what_is_done_writes_nothing() {
        let mut disk = done();
        boot(&mut disk, 0).unwrap();
        assert_eq!(disk, done());
    }

    #[test]
    fn what_is_put_in_the_place_of_encrypted_data_stops_the_boot() {
        for oem in [
            Oem::Plain("evil"),
            Oem::Torn,
            Oem::Encrypted {
                key: 8,
                contents: Some("evil"),
            },
        ] {
            let mut disk = Disk { oem, ..done() };
            let before = disk.clone();
            assert_eq!(
                boot(&mut disk, usize::MAX),
                Err(Stop::Refused("COS_OEM was replaced"))
            );
            assert_eq!(disk, before);
        }
        let mut disk = Disk {
            oem: done().oem,
            ..new()
        };
        assert_eq!(
            boot(&mut disk, usize::MAX),
            Err(Stop::Refused("COS_PERSISTENT was replaced"))
        );
    }

    #[test]
    fn a_plain_cos_oem_gets_in_with_no_data_but_its_own() {
        // Who can write the disk takes COS_PERSISTENT for a half made one, with another COS_OEM beside it.
        let mut disk = Disk {
            persistent: Persistent::HalfMade,
            oem: Oem::Plain("evil"),
            ..done()
        };
        for cut in 0..3 {
            let ended = boot(&mut disk, cut);
            assert_eq!(ended, Err(Stop::Cut));
            if cut > 0 {
                assert_eq!((disk.enrolled, disk.oem_key), (false, None), "{cut}");
            }
        }
        // While COS_OEM is pending, what lies on its partition is not looked at.
        let mut disk = Disk {
            pending: Some("user-data"),
            oem: Oem::Plain("evil"),
            ..done()
        };
        boot(&mut disk, usize::MAX).unwrap();
        assert_eq!(disk, done());
    }
}

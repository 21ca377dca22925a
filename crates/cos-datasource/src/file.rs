//! User-data in a file of the machine.

use crate::USER_DATA_LIMIT;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use cos_sys::root_path::Root;
use std::path::Path;

/// Reads the file; it must be a regular one.
pub(crate) fn read(path: Option<&Path>) -> Result<UserData, Refusal> {
    let Some(path) = path.filter(|path| path.is_absolute()) else {
        return Err(Refusal::Absent("no file is named".into()));
    };
    let bytes = Root::open(Path::new("/"))?.read(path, USER_DATA_LIMIT)?;
    let Some(bytes) = bytes else {
        return Err(Refusal::Absent(format!("there is no {}", path.display())));
    };
    let data = UserData {
        user_data: Some(bytes),
        ..UserData::of(Provider::File)
    };
    data.finish()
}

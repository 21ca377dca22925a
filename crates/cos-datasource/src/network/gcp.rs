//! Google Compute Engine's metadata server
//! (cloud.google.com/compute/docs/metadata/querying-metadata).

use super::Question;
use crate::document::{self, at, text};
use crate::encoding::base64;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};
use serde_json::Value;

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let service = question.service(&question.endpoints.gcp);
    let service = service.with("Metadata-Flavor", "Google");
    let path = "/computeMetadata/v1/instance/?recursive=true";
    let answer = service.get(path, USER_DATA_LIMIT + METADATA_LIMIT)?;
    let Some(answer) = answer else {
        return Err(Refusal::Absent(
            "there is no /computeMetadata/v1/instance".into(),
        ));
    };
    // What is not Google's does not say so: that is how Google tells to check.
    if answer.header("Metadata-Flavor") != Some("Google") {
        return Err(Refusal::Impostor(
            "it does not say Metadata-Flavor: Google".into(),
        ));
    }
    let instance = document::json(&answer.body, &service.url(path))?;
    let Some(id) = text(&instance, "id") else {
        return Err(Refusal::Impostor("the instance has no id".into()));
    };
    let mut data = UserData::of(Provider::Gcp);
    data.set_instance_id(Some(id));
    data.set_hostname(text(&instance, "hostname"));
    let attribute = |name: &str| text(&instance, &format!("attributes/{name}"));
    data.user_data = match (attribute("user-data"), attribute("user-data-encoding")) {
        (Some(text), Some(encoding)) if encoding == "base64" => Some(base64(text.as_bytes())?),
        (text, _) => text.map(String::into_bytes),
    };
    add_keys(&mut data, attribute("ssh-keys"));
    add_keys(&mut data, attribute("sshKeys"));
    let blocked = attribute("block-project-ssh-keys");
    let blocked = blocked.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !blocked && attribute("sshKeys").is_none() {
        let keys = service.bytes(
            "/computeMetadata/v1/project/attributes/ssh-keys",
            METADATA_LIMIT,
        )?;
        let keys = keys.and_then(|keys| String::from_utf8(keys).ok());
        add_keys(&mut data, keys);
    }
    add_facts(&mut data, &instance);
    Ok(data)
}

/// `user:ssh-ed25519 …` a line. Keys that Google's console hands out for one login say
/// `google-ssh` and when they end; they are left out.
fn add_keys(data: &mut UserData, lines: Option<String>) {
    for line in lines.unwrap_or_default().lines() {
        let temporary = line
            .split_ascii_whitespace()
            .any(|word| word == "google-ssh");
        if let Some((_, key)) = line.split_once(':').filter(|_| !temporary) {
            data.add_keys(key);
        }
    }
}

fn add_facts(data: &mut UserData, instance: &Value) {
    // `projects/123/zones/europe-west1-b`, and so the machine's type.
    let last = |path: &str| {
        let text = text(instance, path)?;
        text.rsplit('/').next().map(str::to_owned)
    };
    let zone = last("zone");
    let region = zone.as_deref().and_then(|zone| zone.rsplit_once('-'));
    data.add("region", region.map(|(region, _)| region));
    data.add("availability-zone", zone);
    data.add("instance-type", last("machineType"));
    if let Some(interface) = at(instance, "networkInterfaces/0") {
        data.add("local-ipv4", text(interface, "ip"));
        data.add("public-ipv4", text(interface, "accessConfigs/0/externalIp"));
    }
}

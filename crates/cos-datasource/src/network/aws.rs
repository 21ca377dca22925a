//! Amazon EC2's instance metadata service, version 2 only
//! (docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html).

use super::Question;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::user_data::UserData;
use crate::{METADATA_LIMIT, USER_DATA_LIMIT};

/// More keys than this are not asked for.
const MAX_KEYS: usize = 32;

pub(super) fn ask(question: &Question) -> Result<UserData, Refusal> {
    let token = token(question)?;
    let service = question.service(&question.endpoints.aws);
    let service = service.with("X-aws-ec2-metadata-token", &token);
    let mut data = UserData::of(Provider::Aws);
    let meta = |name: &str| format!("/latest/meta-data/{name}");
    let id = service.required(&meta("instance-id"), METADATA_LIMIT)?;
    data.set_instance_id(Some(String::from_utf8_lossy(&id)));
    let hostname = service.fact(&meta("local-hostname"));
    data.set_hostname(hostname.or_else(|| service.fact(&meta("hostname"))));
    // `0=name` a line; the key itself is below its number.
    let index = service.bytes(&meta("public-keys/"), METADATA_LIMIT)?;
    let index = String::from_utf8_lossy(index.as_deref().unwrap_or_default()).into_owned();
    for line in index.lines().take(MAX_KEYS) {
        let number = line.split('=').next().unwrap_or_default();
        if number.parse::<u32>().is_ok() {
            let path = meta(&format!("public-keys/{number}/openssh-key"));
            let key = service.bytes(&path, METADATA_LIMIT)?;
            data.add_keys(&String::from_utf8_lossy(key.as_deref().unwrap_or_default()));
        }
    }
    data.user_data = service.bytes("/latest/user-data", USER_DATA_LIMIT)?;
    for (name, path) in [
        ("public-ipv4", "public-ipv4"),
        ("local-ipv4", "local-ipv4"),
        ("availability-zone", "placement/availability-zone"),
        ("region", "placement/region"),
        ("instance-type", "instance-type"),
    ] {
        data.add(name, service.fact(&meta(path)));
    }
    Ok(data)
}

/// A session token. A service without tokens is refused: it is version 1, which answers to anyone
/// who gets a request through, or another cloud that imitates it.
fn token(question: &Question) -> Result<String, Refusal> {
    let service = question.service(&question.endpoints.aws);
    let service = service.with("X-aws-ec2-metadata-token-ttl-seconds", "300");
    let url = service.url("/latest/api/token");
    let request = cos_http::Request {
        method: cos_http::Method::Put,
        ..service.request(&url, 4096)
    };
    match question.http.send(&request) {
        Ok(response) => {
            let token = String::from_utf8(response.body).ok();
            let visible = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
            token
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty() && visible(token))
                .ok_or_else(|| Refusal::Impostor("its token is not text".into()))
        }
        Err(error) => match error.status() {
            Some(status @ (404 | 405)) => Err(Refusal::Impostor(format!(
                "it gives no IMDSv2 token (status {status})"
            ))),
            _ => Err(error.into()),
        },
    }
}

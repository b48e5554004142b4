//! The choice of a layer: what a viewer may ask for, in the words of our API and of the WHEP layer extension.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use node::LayerRequest;
use serde::Deserialize;

use crate::Shared;
use crate::error::{Code, Problem};
use crate::headers::{self, ACCEPT_POST, JSON};
use crate::limits;
use crate::session::SessionPath;

/// The body of `PUT /api/v1/sessions/{id}/layer`: `"auto"`, `"audio-only"`, `"paused"`, `{"rid": …}` or
/// `{"maxHeight": …}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Choice {
    Word(Word),
    Rid(Rid),
    MaxHeight(MaxHeight),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Auto,
    AudioOnly,
    Paused,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rid {
    rid: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MaxHeight {
    max_height: u16,
}

/// The body of the WHEP extension. Members that name what we do not have (spatial or temporal layers) are ignored;
/// `mediaId` too, as a session has one video track.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selection {
    encoding_id: Option<String>,
    max_height: Option<u16>,
}

/// Reads a choice in the words of the API.
///
/// # Errors
/// 400 that names the forms.
pub(crate) fn parse_choice(body: &[u8]) -> Result<LayerRequest, Problem> {
    let bad = || {
        Problem::new(
            Code::Syntax,
            "the body is none of \"auto\", \"audio-only\", \"paused\", {\"rid\": \"…\"}, {\"maxHeight\": 720}",
        )
    };
    match serde_json::from_slice(body).map_err(|_| bad())? {
        Choice::Word(Word::Auto) => Ok(LayerRequest::Auto),
        Choice::Word(Word::AudioOnly) => Ok(LayerRequest::AudioOnly),
        Choice::Word(Word::Paused) => Ok(LayerRequest::Paused),
        Choice::Rid(Rid { rid }) if is_rid(&rid) => Ok(LayerRequest::Rid(rid)),
        Choice::Rid(_) => Err(Problem::new(Code::Syntax, "a rid is 1 to 64 of A-Z a-z 0-9 _ -")),
        Choice::MaxHeight(MaxHeight { max_height }) => Ok(LayerRequest::MaxHeight(max_height)),
    }
}

/// Reads a choice in the words of the WHEP extension; `null` and an absent encoding mean automatic.
///
/// # Errors
/// 400 that says what is wanted.
fn parse_selection(body: &[u8]) -> Result<LayerRequest, Problem> {
    let bad = || Problem::new(Code::Syntax, "the body is not {\"mediaId\": \"…\", \"encodingId\": \"…\"}");
    let selection: Option<Selection> = serde_json::from_slice(body).map_err(|_| bad())?;
    match selection.unwrap_or_default() {
        Selection { encoding_id: Some(rid), .. } if is_rid(&rid) => Ok(LayerRequest::Rid(rid)),
        Selection { encoding_id: Some(_), .. } => Err(bad()),
        Selection { max_height: Some(height), .. } => Ok(LayerRequest::MaxHeight(height)),
        Selection { .. } => Ok(LayerRequest::Auto),
    }
}

/// Says whether a text may be a rid (RFC 8851 §10, with the characters that publishers really use).
fn is_rid(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    plain && (1..=64).contains(&text.len())
}

/// Routes the methods of `/whep/{room}/s/{session}/layer`: POST chooses, DELETE goes back to automatic.
pub(crate) fn extension() -> MethodRouter<Shared> {
    post(select).delete(unselect)
}

async fn select(
    State(shared): State<Shared>,
    Path((_, session)): SessionPath,
    request: Request,
) -> Result<StatusCode, Problem> {
    headers::content_type(request.headers(), &JSON, ACCEPT_POST)?;
    let credential = headers::bearer(request.headers())?.map(str::to_owned);
    let body = limits::read_body(request, limits::JSON_BYTES_MAX).await?;
    shared.node.set_layer(&session, parse_selection(&body)?, credential.as_deref())?;
    Ok(StatusCode::OK)
}

async fn unselect(
    State(shared): State<Shared>,
    Path((_, session)): SessionPath,
    request: Request,
) -> Result<StatusCode, Problem> {
    let credential = headers::bearer(request.headers())?;
    shared.node.set_layer(&session, LayerRequest::Auto, credential)?;
    Ok(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_takes_its_forms_and_nothing_else() {
        assert_eq!(parse_choice(b"\"auto\"").unwrap(), LayerRequest::Auto);
        assert_eq!(parse_choice(b"\"audio-only\"").unwrap(), LayerRequest::AudioOnly);
        assert_eq!(parse_choice(b"\"paused\"").unwrap(), LayerRequest::Paused);
        assert_eq!(parse_choice(b"{\"rid\":\"h\"}").unwrap(), LayerRequest::Rid("h".to_owned()));
        assert_eq!(parse_choice(b"{\"maxHeight\":480}").unwrap(), LayerRequest::MaxHeight(480));

        for bad in [
            "",
            "auto",
            "\"best\"",
            "{}",
            "{\"rid\":\"\"}",
            "{\"rid\":7}",
            "{\"maxHeight\":-1}",
            "{\"rid\":\"h\",\"maxHeight\":1}",
            "null",
        ] {
            assert_eq!(parse_choice(bad.as_bytes()).unwrap_err().code(), Code::Syntax, "{bad}");
        }
    }

    #[test]
    fn the_extension_takes_what_whip_whep_and_broadcast_box_send() {
        let parse = |text: &str| parse_selection(text.as_bytes()).unwrap();

        assert_eq!(parse("{\"mediaId\":\"0\",\"encodingId\":\"h\"}"), LayerRequest::Rid("h".to_owned()));
        assert_eq!(parse("{\"mediaId\":\"0\",\"encodingId\":null}"), LayerRequest::Auto);
        assert_eq!(parse("{\"maxHeight\":360,\"maxTemporalLayerId\":1}"), LayerRequest::MaxHeight(360));
        assert_eq!(parse("{}"), LayerRequest::Auto);
        assert!(parse_selection(b"\"auto\"").is_err());
    }

    #[test]
    fn deeply_nested_json_is_refused_without_harm() {
        let bomb = "[".repeat(4000);

        assert!(parse_choice(bomb.as_bytes()).is_err());
        assert!(parse_selection(bomb.as_bytes()).is_err());
    }
}

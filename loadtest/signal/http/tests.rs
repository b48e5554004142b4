use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SDP: &str = "v=0\r\na=ice-ufrag:uuuu\r\na=ice-pwd:pppp\r\na=setup:passive\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n";

/// Answers one connection's requests with these responses and returns the requests.
async fn serve(listener: TcpListener, responses: Vec<String>) -> Vec<String> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut requests = Vec::new();
    for response in responses {
        let mut request = vec![0; 65_536];
        let length = stream.read(&mut request).await.unwrap();
        requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
        stream.write_all(response.as_bytes()).await.unwrap();
    }
    requests
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

async fn open(
    responses: Vec<String>,
) -> (Result<Session, SignalError>, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/whep/a", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, responses));
    let request = SessionRequest { url, token: Some("secret".into()), offer: "the offer".into() };
    (Http::new().unwrap().open(request).await, server)
}

#[tokio::test]
async fn a_session_is_opened_with_its_token_and_ended_where_the_server_said() {
    let created = response("201 Created", "location: /session/7\r\n", SDP);

    let (session, server) = open(vec![created, response("200 OK", "", "")]).await;
    session.unwrap().delete().await.unwrap();
    let requests = server.await.unwrap();

    assert!(requests[0].starts_with("POST /whep/a "), "{}", requests[0]);
    assert!(requests[0].contains("content-type: application/sdp"));
    assert!(requests[0].contains("authorization: Bearer secret"));
    assert!(requests[1].starts_with("DELETE /session/7 "), "{}", requests[1]);
    assert!(requests[1].contains("authorization: Bearer secret"));
}

#[tokio::test]
async fn a_refusal_says_the_servers_reason() {
    let body = r#"{"title":"the shard is busy"}"#;

    let (session, _) = open(vec![response("503 Service Unavailable", "", body)]).await;

    assert_eq!(session.unwrap_err().to_string(), "http 503: the shard is busy");
}

#[tokio::test]
async fn refusals_that_differ_in_a_number_have_one_reason() {
    let refusal = |percent: &str| {
        let body = format!(r#"{{"title":"the busiest thread works {percent} % of the time"}}"#);
        open(vec![response("503 Service Unavailable", "", &body)])
    };

    let (one, other) = (refusal("81").await.0.unwrap_err(), refusal("100").await.0.unwrap_err());

    assert_eq!(one.to_string(), "http 503: the busiest thread works N % of the time");
    assert_eq!(one.to_string(), other.to_string());
}

#[tokio::test]
async fn a_refusal_without_a_reason_says_its_status() {
    let (session, _) = open(vec![response("404 Not Found", "", "nothing")]).await;

    assert_eq!(session.unwrap_err().to_string(), "http 404");
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused() {
    let (session, _) = open(vec![response("201 Created", "", "v=0\r\n")]).await;

    assert!(matches!(session, Err(SignalError::Answer(AnswerError::Credentials))));
}

#[tokio::test]
async fn a_session_that_is_gone_already_is_ended() {
    let created = response("201 Created", "location: /session/7\r\n", SDP);

    let (session, _) = open(vec![created, response("404 Not Found", "", "")]).await;

    session.unwrap().delete().await.unwrap();
}

#[tokio::test]
async fn a_session_is_ended_though_the_kept_connection_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/whep/a", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let created = response("201 Created", "location: /session/7\r\n", SDP);
        let (mut kept, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 65_536];
        assert_ne!(kept.read(&mut request).await.unwrap(), 0);
        kept.write_all(created.as_bytes()).await.unwrap();
        // It closes while the next request is on its way.
        assert_ne!(kept.read(&mut request).await.unwrap(), 0);
        drop(kept);
        serve(listener, vec![response("200 OK", "", "")]).await
    });
    let request = SessionRequest { url, token: None, offer: String::new() };

    let session = Http::new().unwrap().open(request).await.unwrap();
    session.delete().await.unwrap();

    assert!(server.await.unwrap()[0].starts_with("DELETE /session/7 "));
}

#[tokio::test]
async fn a_server_that_is_not_there_gives_no_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);

    let request = SessionRequest { url, token: None, offer: String::new() };
    let outcome = Http::new().unwrap().open(request).await;

    assert!(matches!(outcome, Err(SignalError::Transport(_))));
}

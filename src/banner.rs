//! What a person sees when the server has started: URLs to open and lines to copy.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Writes the text for a server that listens on these addresses. `warning` says that `--dev` opened it to the LAN;
/// `colour` may be used for it.
#[must_use]
pub(crate) fn text(http: &[SocketAddr], udp: &[SocketAddr], warning: bool, colour: bool) -> String {
    let mut text = String::new();
    if warning {
        text.push_str(&dev_warning(http, colour));
    }
    let base = base_url(http);
    let whip = base.replace("localhost", "127.0.0.1");
    let _ = write!(
        text,
        "
  Nearcast {version} is live.

    studio   {base}/studio/demo
    viewer   {base}/r/demo

    OBS      Settings > Stream > Service: WHIP
             Server:        {whip}/whip/demo
             Bearer Token:  (empty)

    ffmpeg   ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=sample_rate=48000 \\
               -c:v libx264 -pix_fmt yuv420p -profile:v baseline -tune zerolatency -bf 0 -g 30 \\
               -c:a libopus -ar 48000 -ac 2 -f whip {whip}/whip/demo

    media    udp {udp}
",
        version = env!("CARGO_PKG_VERSION"),
        udp = join(udp),
    );
    if let Some(lan) =
        http.iter().find(|address| !address.ip().is_loopback() && !address.ip().is_unspecified())
    {
        let _ =
            writeln!(text, "    on the LAN, watch at http://{lan}/r/demo (cameras need https or localhost)");
    }
    text.push('\n');
    text
}

fn dev_warning(http: &[SocketAddr], colour: bool) -> String {
    let (red, plain) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    format!(
        "
{red}  DEVELOPMENT MODE IS INSECURE: anybody who reaches {} can publish and watch.
  Use it on networks that you trust; leave --dev away to listen on this machine only.{plain}
",
        join(http)
    )
}

/// Returns the URL of the best address: loopback as `localhost`, where browsers give out cameras without TLS.
fn base_url(http: &[SocketAddr]) -> String {
    let local = http.iter().find(|address| address.ip().is_loopback() || address.ip().is_unspecified());
    match local.or_else(|| http.first()) {
        Some(address) if is_local_only_v6(address.ip(), http) => format!("http://[::1]:{}", address.port()),
        Some(address) if address.ip().is_loopback() || address.ip().is_unspecified() => {
            format!("http://localhost:{}", address.port())
        }
        Some(address) => format!("http://{address}"),
        None => String::new(),
    }
}

/// `localhost` is IPv4 first on many machines, so it does not do when only `[::1]` listens.
fn is_local_only_v6(ip: IpAddr, http: &[SocketAddr]) -> bool {
    ip.is_loopback()
        && ip.is_ipv6()
        && !http.iter().any(|address| address.is_ipv4() && address.ip().is_loopback())
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_server_prints_urls_that_get_a_camera() {
        let text = text(&addresses(&["127.0.0.1:8080"]), &addresses(&["127.0.0.1:8081"]), false, false);

        assert!(text.contains("http://localhost:8080/studio/demo"));
        assert!(text.contains("http://localhost:8080/r/demo"));
        assert!(text.contains("-f whip http://127.0.0.1:8080/whip/demo"));
        assert!(text.contains("udp 127.0.0.1:8081"));
        assert!(!text.contains("INSECURE"));
    }

    #[test]
    fn an_open_server_warns_in_red_only_where_colour_shows() {
        let http = addresses(&["127.0.0.1:8080", "192.168.1.4:8080"]);

        assert!(text(&http, &http, true, true).contains("\x1b[1;31m"));
        assert!(!text(&http, &http, true, false).contains('\x1b'));
        assert!(
            text(&http, &http, true, false)
                .contains("INSECURE: anybody who reaches 127.0.0.1:8080, 192.168.1.4:8080")
        );
        assert!(text(&http, &http, true, false).contains("http://192.168.1.4:8080/r/demo"));
    }

    #[test]
    fn other_addresses_are_printed_as_they_are() {
        assert_eq!(base_url(&addresses(&["192.168.1.4:80"])), "http://192.168.1.4:80");
        assert_eq!(base_url(&addresses(&["[::1]:8080"])), "http://[::1]:8080");
        assert_eq!(base_url(&addresses(&["[::]:8080"])), "http://localhost:8080");
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }
}

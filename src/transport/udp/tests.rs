use super::*;

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

#[test]
fn a_group_shares_one_free_port_and_hears_every_remote_address_on_one_socket() {
    let group = UdpGroup::bind(V4.parse().unwrap(), 3).unwrap();
    assert_eq!(group.sockets.len(), 3);
    assert_ne!(group.address.port(), 0);
    for socket in &group.sockets {
        assert_eq!(socket.local_address().unwrap(), group.address);
    }

    let sender = bind(V4);
    for _ in 0..20 {
        sender.send_to(b"always the same ear", group.address).unwrap();
    }

    let mut batch = ReceiveBatch::new();
    let mut heard = [0; 3];
    for _ in 0..TRIES {
        for (count, socket) in heard.iter_mut().zip(&group.sockets) {
            *count += socket.receive(&mut batch).unwrap_or(0);
        }
        if heard.iter().sum::<usize>() >= 20 {
            break;
        }
        std::thread::yield_now();
    }
    heard.sort_unstable();
    assert_eq!(heard, [0, 0, 20]);
}

#[test]
fn an_empty_socket_would_block_and_leaves_the_batch_empty() {
    let socket = bind(V4);
    let mut batch = ReceiveBatch::new();

    let result = socket.receive(&mut batch);

    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(batch.datagrams().count(), 0);
}

#[test]
fn datagrams_arrive_equal_with_runs_and_without_over_both_families() {
    for family in [V4, V6] {
        let expected = frames();
        let mut arrived = Vec::new();
        for mode in [GsoMode::Auto, GsoMode::Off] {
            let (sender, receiver) = (bind(family), bind(family));
            let mut tray = SendBatch::new(mode, &sender);
            for datagram in &expected {
                put(&mut tray, &receiver, datagram);
            }

            let report = tray.flush(&sender);

            assert_eq!(report.sent as usize, expected.len(), "{mode:?} {family}: {report:?}");
            assert_eq!((report.dropped, report.refused), (0, 0));
            let mut batch = ReceiveBatch::new();
            let received = receive_all(&receiver, &mut batch, expected.len());
            assert!(received.iter().all(|(remote, _)| *remote == sender.local_address().unwrap()));
            arrived.push(received.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
        }
        assert_eq!(arrived[0], expected);
        assert_eq!(arrived[1], expected);
    }
}

#[test]
fn a_shorter_datagram_has_room_along_until_the_run_is_closed() {
    let (sender, receiver, other) = (bind(V4), bind(V4), bind(V4));
    let (here, there) = (receiver.local_address().unwrap(), other.local_address().unwrap());
    let mut tray = SendBatch::new(GsoMode::Auto, &sender);
    assert_eq!(tray.room_along(here), 0, "nothing is on the tray");

    put(&mut tray, &receiver, &[1; 300]);
    assert_eq!((tray.room_along(here), tray.room_along(there)), (300, 0));

    put(&mut tray, &receiver, &[2; 80]);
    assert_eq!(tray.room_along(here), 0, "the shorter one has closed the run");
    assert_eq!(tray.flush(&sender).calls, 1);

    let mut tray = SendBatch::new(GsoMode::Off, &sender);
    put(&mut tray, &receiver, &[1; 300]);
    assert_eq!(tray.room_along(here), 0, "without runs everything leaves alone");
}

#[test]
fn this_kernel_cuts_runs_apart_and_joins_them() {
    let (sender, receiver) = (bind(V4), bind(V4));
    assert!(sender.knows_gso(), "the tests of runs prove nothing on a kernel without UDP_SEGMENT");
    let mut tray = SendBatch::new(GsoMode::Auto, &sender);
    for number in 0..RUN_MAX {
        put(&mut tray, &receiver, &[number as u8; 1_200]);
    }
    tray.flush(&sender);

    let mut batch = ReceiveBatch::new();
    let datagrams = (0..TRIES).find_map(|_| receiver.receive(&mut batch).ok()).unwrap();

    assert_eq!(datagrams, RUN_MAX, "one call gives the whole run, coalesced");
    for (number, (_, datagram)) in batch.datagrams().enumerate() {
        assert_eq!(datagram, &[number as u8; 1_200]);
    }
}

#[test]
fn a_run_ends_at_another_address_a_larger_size_its_sixteenth_datagram_and_behind_a_shorter_one() {
    let (sender, one, other) = (bind(V4), bind(V4), bind(V4));
    for (name, datagrams, runs) in [
        ("one address", vec![(&one, 100); 16], 1),
        ("another address", vec![(&one, 100), (&other, 100), (&one, 100)], 3),
        ("larger", vec![(&one, 100), (&one, 101)], 2),
        ("seventeen", vec![(&one, 100); 17], 2),
        ("behind a shorter one", vec![(&one, 100), (&one, 99), (&one, 99)], 2),
    ] {
        let mut tray = SendBatch::new(GsoMode::Auto, &sender);
        for (receiver, len) in &datagrams {
            put(&mut tray, receiver, &vec![1; *len]);
        }

        assert_eq!(tray.runs.len(), runs, "{name}");
        assert_eq!(tray.flush(&sender).sent as usize, datagrams.len(), "{name}");
        assert!(tray.is_empty());
    }
}

#[test]
fn a_run_stays_within_sixty_kilobytes() {
    let (sender, receiver) = (bind(V4), bind(V4));
    let mut tray = SendBatch::new(GsoMode::Auto, &sender);
    for _ in 0..RUN_MAX {
        put(&mut tray, &receiver, &[0; 8_000]);
    }

    assert!(tray.runs.iter().all(|run| run.len <= RUN_BYTES_MAX));
    assert_eq!(tray.runs.len(), 3);
}

#[test]
fn a_refused_run_goes_out_datagram_by_datagram() {
    let (sender, receiver, bystander) = (bind(V4), bind(V4), bind(V4));
    // Without checksums the kernel refuses to cut a run apart, and sends single datagrams as ever.
    syscall::set_option(sender.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let mut tray = SendBatch::new(GsoMode::Auto, &sender);
    put(&mut tray, &bystander, b"before");
    let expected: Vec<Vec<u8>> = (0..10).map(|number| vec![number; 500]).collect();
    for datagram in &expected {
        put(&mut tray, &receiver, datagram);
    }
    put(&mut tray, &bystander, b"after");

    let report = tray.flush(&sender);

    assert_eq!((report.sent, report.dropped, report.refused), (12, 0, 1));
    let mut batch = ReceiveBatch::new();
    let received: Vec<Vec<u8>> =
        receive_all(&receiver, &mut batch, 10).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(received, expected);
    assert_eq!(receive_all(&bystander, &mut batch, 2).len(), 2);
}

#[test]
fn only_a_device_without_the_means_ends_the_use_of_runs() {
    let refusal =
        |code| send::Refused::of(&io::Error::from_raw_os_error(code), 0).map(|refused| refused.for_good);

    assert_eq!(refusal(libc::EIO), Some(true));
    assert_eq!(refusal(libc::EINVAL), Some(false));
    assert_eq!(refusal(libc::ENETUNREACH), None);
    assert_eq!(refusal(libc::EPERM), None);
}

#[test]
fn a_remote_address_without_a_way_costs_only_its_own_datagrams() {
    let (sender, receiver) = (bind(V4), bind(V4));
    let mut tray = SendBatch::new(GsoMode::Auto, &sender);
    put(&mut tray, &receiver, b"first");
    for _ in 0..3 {
        let slot = tray.slot(10).unwrap();
        slot.fill(7);
        // An IPv6 address on an IPv4 socket.
        tray.commit("[2001:db8::1]:9".parse().unwrap(), 10);
    }
    put(&mut tray, &receiver, b"last");

    let report = tray.flush(&sender);

    assert_eq!((report.sent, report.dropped), (2, 3));
    let mut batch = ReceiveBatch::new();
    assert_eq!(receive_all(&receiver, &mut batch, 2).len(), 2);
}

#[test]
fn a_tray_says_when_it_is_full_and_is_empty_again_after_the_flush() {
    let (sender, receiver) = (bind(V4), bind(V4));
    let mut tray = SendBatch::new(GsoMode::Off, &sender);
    let mut count: u32 = 0;
    while let Some(slot) = tray.slot(1_200) {
        slot.fill(1);
        tray.commit(receiver.local_address().unwrap(), 1_200);
        count += 1;
    }
    assert!(count > 100, "{count}");

    let report = tray.flush(&sender);

    assert_eq!(report.sent + report.dropped, count);
    assert!(report.calls >= count / 64);
    assert!(tray.slot(1_200).is_some());
}

#[test]
fn a_slot_that_is_given_back_leaves_no_trace() {
    let (sender, receiver) = (bind(V4), bind(V4));
    let mut tray = SendBatch::new(GsoMode::Auto, &sender);

    tray.slot(1_200).unwrap().fill(9);
    tray.commit(receiver.local_address().unwrap(), 0);

    assert!(tray.is_empty());
    assert_eq!(tray.flush(&sender), SendReport::default());
}

#[test]
fn a_datagram_longer_than_ethernet_carries_is_counted_and_dropped() {
    let (sender, receiver) = (bind(V4), bind(V4));
    sender.send_to(&[1; DATAGRAM_MAX], receiver.local_address().unwrap()).unwrap();
    sender.send_to(&[2; DATAGRAM_MAX + 1], receiver.local_address().unwrap()).unwrap();
    sender.send_to(&[3; 60_000], receiver.local_address().unwrap()).unwrap();
    sender.send_to(&[4; 4], receiver.local_address().unwrap()).unwrap();

    let mut batch = ReceiveBatch::new();
    let received = receive_all(&receiver, &mut batch, 2);

    let sizes: Vec<usize> = received.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(sizes, [DATAGRAM_MAX, 4]);
    assert_eq!(batch.oversized(), 2);
}

#[test]
fn an_empty_datagram_does_no_harm() {
    let (sender, receiver) = (bind(V4), bind(V4));
    sender.send_to(&[], receiver.local_address().unwrap()).unwrap();
    sender.send_to(b"x", receiver.local_address().unwrap()).unwrap();

    let mut batch = ReceiveBatch::new();
    let received = receive_all(&receiver, &mut batch, 1);

    assert_eq!(received.len(), 1);
}

#[test]
fn small_buffers_are_told_with_the_setting_that_helps() {
    let small = buffer_warning(Buffers { receive: 212_992, send: BUFFER_BYTES }).unwrap();

    assert!(small.contains("sysctl -w net.core.rmem_max=4194304"), "{small}");
    assert!(!small.contains("wmem_max"));
    assert_eq!(buffer_warning(Buffers { receive: BUFFER_BYTES, send: BUFFER_BYTES }), None);
}

/// A frame of equal packets with a shorter last one, some single packets, and a long frame.
fn frames() -> Vec<Vec<u8>> {
    let sizes = [1_200; 7].into_iter().chain([333, 80, 1_199, 1_200]).chain([1_000; 40]).chain([1]);
    sizes.enumerate().map(|(number, size)| vec![number as u8; size]).collect()
}

fn bind(address: &str) -> UdpSocket {
    let mut group = UdpGroup::bind(address.parse().unwrap(), 1).unwrap();
    group.sockets.remove(0)
}

fn put(tray: &mut SendBatch, receiver: &UdpSocket, datagram: &[u8]) {
    let slot = tray.slot(datagram.len() + 40).unwrap();
    slot[..datagram.len()].copy_from_slice(datagram);
    tray.commit(receiver.local_address().unwrap(), datagram.len());
}

/// Receives as many datagrams as are expected; a loaded machine may deliver them a little later.
fn receive_all(socket: &UdpSocket, batch: &mut ReceiveBatch, expected: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    for _ in 0..TRIES {
        match socket.receive(batch) {
            Ok(_) => all.extend(batch.datagrams().map(|(remote, bytes)| (remote, bytes.to_vec()))),
            Err(_) if all.len() >= expected => break,
            Err(_) => std::thread::yield_now(),
        }
    }
    all
}

const TRIES: usize = 1_000_000;

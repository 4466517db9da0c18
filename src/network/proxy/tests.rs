//! The proxy between real sockets on this machine's loopback.

use std::io::{ErrorKind, PipeWriter, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// Longer than any step takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A proxy in a loop like the monitor's, until this is dropped.
struct Running {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn serve(forwards: Vec<Forward>) -> Running {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut proxy = Proxy::new(forwards).unwrap();
    let thread = std::thread::spawn(move || {
        loop {
            let left = proxy
                .timeout()
                .map(|at| at.saturating_duration_since(Instant::now()))
                .map(|left| Timespec::try_from(left).unwrap());
            let mut fds = [
                PollFd::from_borrowed_fd(proxy.fd(), PollFlags::IN),
                PollFd::new(&reader, PollFlags::IN),
            ];
            poll(&mut fds, left.as_ref()).unwrap();
            if !fds[1].revents().is_empty() {
                return;
            }
            let is_ready = !fds[0].revents().is_empty();
            // As the monitor, which reads the clock once for all that may be due.
            let now = Instant::now();
            let is_due = proxy.timeout().is_some_and(|at| at <= now);
            if is_due || is_ready {
                proxy.run().unwrap();
            }
        }
    });
    Running {
        stop: Some(writer),
        thread: Some(thread),
    }
}

/// Publishes `target` on a port of `address` and returns where.
fn publish(address: &str, target: SocketAddr) -> (Running, SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let at = listener.local_addr().unwrap();
    let forward = Forward {
        socket: listener.into(),
        target,
    };
    (serve(vec![forward]), at)
}

fn backend() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    set_deadline(&stream);
    stream
}

fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    set_deadline(&stream);
    stream
}

fn set_deadline(stream: &TcpStream) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
}

/// Bytes in which a missing, doubled or moved part shows.
fn pattern(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}

fn reset_by(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 16]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn one_side_may_end_before_the_other() {
    let (listener, target) = backend();
    let (_running, at) = publish("127.0.0.1:0", target);
    let mut client = connect(at);
    let mut server = accept(&listener);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "question");
    // The way back is still open.
    server.write_all(b"answer").unwrap();
    drop(server);
    text.clear();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer");
}

#[test]
fn much_goes_both_ways_at_once_and_unchanged() {
    const BYTES: usize = 8 << 20;
    let (listener, target) = backend();
    let (_running, at) = publish("127.0.0.1:0", target);
    let data = pattern(BYTES);
    let send = |mut stream: TcpStream| {
        stream.write_all(&data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    };
    let receive = |mut stream: TcpStream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(bytes == data, "{} bytes came, or others", bytes.len());
    };
    let client = connect(at);
    let server = accept(&listener);
    std::thread::scope(|scope| {
        for stream in [client, server] {
            let other = stream.try_clone().unwrap();
            scope.spawn(|| send(stream));
            scope.spawn(|| receive(other));
        }
    });
}

#[test]
fn many_connections_are_open_at_once() {
    let (listener, target) = backend();
    let (_running, at) = publish("127.0.0.1:0", target);
    let mut pairs: Vec<(TcpStream, TcpStream)> = (0..200)
        .map(|_| {
            let client = connect(at);
            (client, accept(&listener))
        })
        .collect();
    for (number, (client, server)) in pairs.iter_mut().enumerate().rev() {
        let text = number.to_string();
        client.write_all(text.as_bytes()).unwrap();
        let mut read = vec![0; text.len()];
        server.read_exact(&mut read).unwrap();
        assert_eq!(read, text.as_bytes());
        server.write_all(&read).unwrap();
        client.read_exact(&mut read).unwrap();
        assert_eq!(read, text.as_bytes());
    }
}

#[test]
fn who_does_not_read_stops_nobody_else() {
    const BYTES: usize = 32 << 20;
    let (listener, target) = backend();
    let (_running, at) = publish("127.0.0.1:0", target);
    let mut slow = connect(at);
    let mut fills = accept(&listener);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            fills.write_all(&vec![7; BYTES]).unwrap();
        });
        for _ in 0..50 {
            let mut client = connect(at);
            let mut server = accept(&listener);
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
        }
        let mut bytes = Vec::new();
        slow.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), BYTES);
    });
}

#[test]
fn who_is_refused_sees_a_reset() {
    // Bound, so that nobody else gets the port, but not listening.
    let closed =
        rustix::net::socket(rustix::net::AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::bind(&closed, &any).unwrap();
    let target = rustix::net::getsockname(&closed)
        .unwrap()
        .try_into()
        .unwrap();
    let (_running, at) = publish("127.0.0.1:0", target);
    // A client may see it as early as in its connect.
    let read = TcpStream::connect(at).and_then(|mut stream| {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.read(&mut [0])
    });
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_is_passed_on() {
    let (listener, target) = backend();
    let (_running, at) = publish("127.0.0.1:0", target);
    for client_breaks in [true, false] {
        let client = connect(at);
        let server = accept(&listener);
        let (breaks, mut sees) = if client_breaks {
            (client, server)
        } else {
            (server, client)
        };
        sockopt::set_socket_linger(&breaks, Some(Duration::ZERO)).unwrap();
        drop(breaks);
        assert!(reset_by(&mut sees), "client breaks: {client_breaks}");
    }
}

#[test]
fn clients_of_ipv6_reach_a_container_without() {
    let (listener, target) = backend();
    let (_running, at) = publish("[::1]:0", target);
    let mut client = connect(at);
    let mut server = accept(&listener);
    client.write_all(b"six").unwrap();
    let mut read = [0; 3];
    server.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"six");
}

#[test]
fn a_new_target_counts_for_new_connections() {
    let (old, target) = backend();
    let (new, new_target) = backend();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let mut proxy = Proxy::new(vec![Forward {
        socket: listener.into(),
        target,
    }])
    .unwrap();
    proxy.retarget(|_| new_target);
    let _client = connect(at);
    old.set_nonblocking(true).unwrap();
    new.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while new.accept().is_err() {
        assert!(Instant::now() < deadline, "nobody connected");
        proxy.run().unwrap();
    }
    assert!(old.accept().is_err());
}

#[test]
fn each_client_gets_its_own_answers_from_the_address_it_asked() {
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    echo.set_read_timeout(Some(DEADLINE)).unwrap();
    let listener = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _running = serve(vec![Forward {
        target: echo.local_addr().unwrap(),
        socket: listener.into(),
    }]);
    // A connected socket takes answers from no other address.
    let clients: Vec<UdpSocket> = (1..20)
        .map(|last| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let asked = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
            client.connect((asked, port)).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client
        })
        .collect();
    let mut buffer = [0; 2000];
    for round in 0..3_u8 {
        for (number, client) in clients.iter().enumerate() {
            client.send(format!("{round} {number}").as_bytes()).unwrap();
            let (bytes, from) = echo.recv_from(&mut buffer).unwrap();
            echo.send_to(&buffer[..bytes], from).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            let bytes = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..bytes], format!("{round} {number}").as_bytes());
        }
    }
}

#[test]
fn a_silent_flow_ends_and_the_oldest_makes_room() {
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let listener = Listener {
        target: target.local_addr().unwrap(),
        socket: socket.into(),
        is_stream: false,
    };
    let mut flows = Flows::default();
    let began = Instant::now();
    for number in 0..udp::FLOWS_MAX + 10 {
        // One client after the other, each from a port of its own.
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"x", at).unwrap();
        flows.pass_on(0, &listener, |_, _| Ok(()), Instant::now());
        assert!(flows.len() <= udp::FLOWS_MAX, "after {number}");
    }
    assert!(flows.len() > udp::FLOWS_MAX / 2);
    flows.expire(began + Duration::from_secs(10));
    assert!(flows.len() > udp::FLOWS_MAX / 2);
    flows.expire(Instant::now() + Duration::from_secs(91));
    assert_eq!(flows.len(), 0);
    assert_eq!(flows.timeout(), None);
}

#[test]
fn keys_keep_their_source() {
    for source in [
        Source::Listener(70_000),
        Source::Stream(9, Side::Client),
        Source::Stream(1 << 40, Side::Backend),
        Source::Flow(3),
    ] {
        assert_eq!(Source::of(source.key()), source);
    }
}

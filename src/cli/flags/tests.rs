//! Whole command lines of `create`, and what docker 28's client sends for them (recorded against a canned engine).

use super::*;
use crate::cli::command;
use crate::cli::commands::run::{CREATE, CreateArgs};
use crate::cli::parse::{self, Parsed};

fn create(line: &str) -> Result<ContainerCreate> {
    let arguments: Vec<String> = words(line);
    let parsed = parse::parse(&CREATE, "docker create", &arguments);
    let matches = match parsed {
        Ok(Parsed::Matches(matches)) => matches,
        Ok(Parsed::Help) => panic!("{line} asks for help"),
        Err(misuse) => {
            let first = misuse.text.lines().next().unwrap_or_default().to_owned();
            return Err(error::invalid(first));
        }
    };
    let arguments: CreateArgs = command::arguments(&matches).unwrap();
    let look_up = |name: &str| (name == "HOST").then(|| "here".to_owned());
    let caller = Caller {
        look_up: &look_up,
        directory: std::path::Path::new("/cwd"),
    };
    request(&arguments.container, caller)
}

/// Blanks divide, single quotes keep together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// Compares what is not as in the request of a plain `create img`.
fn check(line: &str, want: &str) {
    let plain = serde_json::to_value(create("img").unwrap()).unwrap();
    let got = serde_json::to_value(create(line).unwrap()).unwrap();
    let mut found = Vec::new();
    for (key, value) in got.as_object().unwrap() {
        if key != "HostConfig" && plain.get(key) != Some(value) {
            found.push(format!("{key}={value}"));
        }
    }
    for (key, value) in got["HostConfig"].as_object().unwrap() {
        if plain["HostConfig"].get(key) != Some(value) {
            found.push(format!("Host.{key}={value}"));
        }
    }
    found.sort();
    let mut want: Vec<String> = want
        .split_whitespace()
        .map(|word| word.replace('\'', "\""))
        .collect();
    want.sort();
    assert_eq!(found, want, "{line}");
}

fn refused(line: &str, want: &str) {
    assert_eq!(create(line).unwrap_err().to_string(), want, "{line}");
}

#[test]
fn the_plain_request() {
    let got = serde_json::to_value(create("img").unwrap()).unwrap();
    assert_eq!(got["AttachStdout"], true);
    assert_eq!(got["AttachStdin"], false);
    assert_eq!(got["Volumes"], serde_json::json!({}));
    assert!(got["Env"].is_null() && got["Cmd"].is_null() && got["Entrypoint"].is_null());
    let host = &got["HostConfig"];
    assert_eq!(host["NetworkMode"], "default");
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["MemorySwappiness"], -1);
    assert_eq!(host["PidsLimit"], 0);
    assert!(host["Binds"].is_null() && host["CapAdd"].is_null() && host["SecurityOpt"].is_null());
    assert_eq!(host["Dns"], serde_json::json!([]));
    let endpoints = &got["NetworkingConfig"]["EndpointsConfig"];
    assert!(endpoints["default"].is_object());
}

#[test]
fn the_program() {
    check("img a b -c", "Cmd=['a','b','-c']");
    check("-- img a", "Cmd=['a']");
    check("img -- a", "Cmd=['--','a']");
    check("img echo --rm -it", "Cmd=['echo','--rm','-it']");
    check(
        "-it img",
        "AttachStdin=true OpenStdin=true StdinOnce=true Tty=true",
    );
    check("-t=false -i=0 img", "");
    check("--tty --tty=false img", "");
    check("-a stdout img", "AttachStderr=false");
    check(
        "-a STDIN -a stderr img",
        "AttachStdin=true AttachStdout=false",
    );
    check(
        "--entrypoint /bin/echo img a",
        "Entrypoint=['/bin/echo'] Cmd=['a']",
    );
    check("--entrypoint '' img", "Entrypoint=['']");
    check("--entrypoint= img", "Entrypoint=['']");
    check(
        "-e A=1 -e HOST -e NOPE -e=K=V -eZ= img",
        "Env=['A=1','HOST=here','NOPE','K=V','Z=']",
    );
    check(
        "-l a=1 -l b --label c=x=y img",
        "Labels={'a':'1','b':'','c':'x=y'}",
    );
    check(
        "-h web -u 1:2 -w /x img",
        "Hostname='web' User='1:2' WorkingDir='/x'",
    );
    check(
        "--stop-signal USR1 --stop-timeout 0 img",
        "StopSignal='USR1' StopTimeout=0",
    );
    check("--stop-timeout=5 --stop-timeout=6 img", "StopTimeout=6");
    check(
        "--health-cmd true --health-interval 1s --health-retries 3 img",
        "Healthcheck={'Test':['CMD-SHELL','true'],'Interval':1000000000,'Retries':3}",
    );
}

#[test]
fn the_host() {
    check("-m512m img", "Host.Memory=536870912");
    check("--memory=1g img", "Host.Memory=1073741824");
    check(
        "-m 0.5g --memory-swap -1 img",
        "Host.Memory=536870912 Host.MemorySwap=-1",
    );
    check(
        "--cpus 1.5 --cpuset-cpus 0,1 -c 0x10 img",
        "Host.NanoCpus=1500000000 Host.CpusetCpus='0,1' Host.CpuShares=16",
    );
    check("--rm img", "Host.AutoRemove=true");
    check(
        "--restart on-failure:3 img",
        "Host.RestartPolicy={'Name':'on-failure','MaximumRetryCount':3}",
    );
    check("--init img", "Host.Init=true");
    check("--init=false img", "Host.Init=false");
    check(
        "-v v1:/one -v /anon -v ./rel:/r:ro -v v1:/one img",
        "Host.Binds=['v1:/one','/cwd/rel:/r:ro'] Volumes={'/anon':{}}",
    );
    check(
        "--tmpfs /x --tmpfs /y:size=1m,mode=700 img",
        "Host.Tmpfs={'/x':'','/y':'size=1m,mode=700'}",
    );
    check(
        "--mount type=bind,src=./a,dst=/b,ro img",
        "Host.Mounts=[{'Type':'bind','Source':'/cwd/a','Target':'/b','ReadOnly':true}]",
    );
    check(
        "--log-driver local --log-opt max-size=1m --log-opt b img",
        "Host.LogConfig={'Type':'local','Config':{'b':'','max-size':'1m'}}",
    );
    check(
        "--cap-add net_admin --cap-add CHOWN --cap-drop all img",
        "Host.CapAdd=['CAP_CHOWN','CAP_NET_ADMIN'] Host.CapDrop=['ALL']",
    );
}

#[test]
fn the_network() {
    check(
        "-p 8080:80 --expose 90-91/udp -P img",
        "ExposedPorts={'80/tcp':{},'90/udp':{},'91/udp':{}} Host.PublishAllPorts=true Host.PortBindings={'80/tcp':[{'HostIp':'','HostPort':'8080'}]}",
    );
    check(
        "--net host img",
        "Host.NetworkMode='host' NetworkingConfig={'EndpointsConfig':{}}",
    );
    check(
        "--network n1 img",
        "Host.NetworkMode='n1' NetworkingConfig={'EndpointsConfig':{}}",
    );
    check("--link db:x --link b img", "Host.Links=['db:x','b']");
    check(
        "--dns 0:0::1 --dns-search example.com. --dns-opt a --dns-option b img",
        "Host.Dns=['::1'] Host.DnsSearch=['example.com'] Host.DnsOptions=['a','b']",
    );
    check(
        "--add-host a=1.2.3.4 --add-host b:[::1] img",
        "Host.ExtraHosts=['a:1.2.3.4','b:::1']",
    );
}

#[test]
fn conflicts_are_refused_with_docker_texts() {
    refused(
        "--rm --restart always img",
        "conflicting options: cannot specify both --restart and --rm",
    );
    refused(
        "--restart x:y img",
        "invalid restart policy format: maximum retry count must be an integer",
    );
    refused(
        "--restart :1 img",
        "invalid restart policy format: no policy provided before colon",
    );
    refused(
        "--no-healthcheck --health-cmd x img",
        "--no-healthcheck conflicts with --health-* options",
    );
    refused(
        "--log-driver none --log-opt a=b img",
        "invalid logging opts for driver none",
    );
    refused("--storage-opt x img", "invalid storage option");
    refused("-p abc img", "Invalid containerPort: abc");
    refused(
        "--expose 5-3 img",
        "invalid range format for --expose: 5-3, error: Invalid range specified for the Port: 5-3",
    );
    refused(
        "--env-file /nosuch img",
        "open /nosuch: no such file or directory",
    );
    refused("-v '' img", "invalid empty volume spec");
    refused(
        "--mount source=x img",
        "invalid argument \"source=x\" for \"--mount\" flag: target is required",
    );
    refused(
        "-m lots img",
        "invalid argument \"lots\" for \"-m, --memory\" flag: invalid size: 'lots'",
    );
    refused(
        "-a nosuch img",
        "invalid argument \"nosuch\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
    );
    refused(
        "--cpus 1/3 img",
        "invalid argument \"1/3\" for \"--cpus\" flag: value is too precise",
    );
    refused(
        "--blkio-weight 70000 img",
        "invalid argument \"70000\" for \"--blkio-weight\" flag: strconv.ParseUint: parsing \"70000\": value out of range",
    );
    refused(
        "--health-interval 5 img",
        "invalid argument \"5\" for \"--health-interval\" flag: time: missing unit in duration \"5\"",
    );
}

#[test]
fn what_only_windows_has_is_refused() {
    let flags = |line: &str| {
        let Ok(Parsed::Matches(matches)) = parse::parse(&CREATE, "docker create", &words(line))
        else {
            panic!("{line} is fine")
        };
        command::arguments::<CreateArgs>(&matches)
            .unwrap()
            .container
    };
    assert!(refuse_foreign(&flags("--isolation default img")).is_ok());
    assert_eq!(
        refuse_foreign(&flags("--cpu-count 1 img"))
            .unwrap_err()
            .to_string(),
        "\"--cpu-count\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
    );
    assert_eq!(pull_policy("always").unwrap(), Pull::Always);
    assert_eq!(
        pull_policy("nosuch").unwrap_err().to_string(),
        "invalid pull option: 'nosuch': must be one of \"always\", \"missing\" or \"never\""
    );
}

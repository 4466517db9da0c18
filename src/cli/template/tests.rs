//! Templates whose answers by Go's text/template and docker's `inspect` were recorded (docker 28.5, Go 1.25).
//!
//! Of the 326 templates of `inspect` that were recorded, 177 have a result: the crate gtmpl 0.7.1 gives 69 of them as Go
//! does (maps in the order of a hash table, lists as `[String("a")]`, no `slice`, `html`, `%T`, `break`), and none of the
//! error texts of the other 149; a template that calls itself overflows its stack. This engine gives 170 and 144; what
//! differs does so on purpose: nested pointers print as what they point to and not as an address, both names of a field
//! may stand in one template, imaginary numbers are refused, calls nest less deep. 65,000 random templates found one more
//! class: a pointer to a truth value (`.HostConfig.Init`) is that value here.

use super::*;
use crate::docker;

const CONTAINER: &str = r#"{"Id":"4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2","Created":"2025-11-20T10:11:12.123456789Z","Path":"sh","Args":["-c","echo <hi> & sleep"],"State":{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":1234,"ExitCode":0,"Error":"","StartedAt":"2025-11-20T10:11:13.5Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"healthy","FailingStreak":0,"Log":[{"Start":"2025-11-20T10:11:14.5Z","End":"2025-11-20T10:11:14.6+02:00","ExitCode":0,"Output":"ok\n"}]}},"Image":"sha256:08b152afcfae220e9709f00767054b824361c742ea03a9fe936271ba520a0a4b","ResolvConfPath":"/r","HostnamePath":"/h","HostsPath":"/hosts","LogPath":"/l-json.log","Name":"/web","RestartCount":2,"Driver":"overlay2","Platform":"linux","MountLabel":"","ProcessLabel":"","AppArmorProfile":"","ExecIDs":null,"HostConfig":{"Binds":["/tmp:/t:ro"],"ContainerIDFile":"","LogConfig":{"Type":"json-file","Config":{"max-size":"10m"}},"NetworkMode":"bridge","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/udp":null},"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[24,80],"CapAdd":["CAP_NET_ADMIN"],"CapDrop":null,"CgroupnsMode":"host","Dns":["1.2.3.4"],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":["h:1.1.1.1"],"GroupAdd":null,"IpcMode":"private","Cgroup":"","Links":null,"OomScoreAdj":10,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":true,"SecurityOpt":["no-new-privileges"],"Tmpfs":{"/x":"size=1m"},"UTSMode":"","UsernsMode":"","ShmSize":65,"Sysctls":{"net.core.somaxconn":"100"},"Runtime":"runc","Isolation":"","CpuShares":0,"Memory":64,"NanoCpus":1500,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[{"Path":"/dev/sda","Weight":100}],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"0,1","CpusetMems":"","Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/n","CgroupPermissions":"rwm"}],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":128,"MemorySwappiness":null,"OomKillDisable":false,"PidsLimit":50,"Ulimits":[{"Name":"nofile","Hard":20,"Soft":10}],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":["/proc/acpi"],"ReadonlyPaths":["/proc/bus"],"Init":true},"GraphDriver":{"Data":{"UpperDir":"/u","LowerDir":"/l"},"Name":"overlay2"},"Mounts":[{"Type":"volume","Name":"v1","Source":"/v/_data","Destination":"/one","Driver":"local","Mode":"z","RW":true,"Propagation":""},{"Type":"bind","Source":"/tmp","Destination":"/t","Mode":"ro","RW":false,"Propagation":"rprivate"}],"Config":{"Hostname":"4fa6e0f0c678","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"ExposedPorts":{"80/tcp":{},"81/udp":{}},"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["A=1","PATH=/usr/bin:/bin"],"Cmd":["sh","-c","echo <hi> & sleep"],"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":3000,"Retries":3},"Image":"nginx:1.27","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{"a.b":"c","app":"web","z":""},"StopTimeout":5},"NetworkSettings":{"Bridge":"","SandboxID":"abc","SandboxKey":"/var/run/docker/netns/abc","Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"81/udp":null},"HairpinMode":false,"LinkLocalIPv6Address":"","LinkLocalIPv6PrefixLen":0,"SecondaryIPAddresses":null,"SecondaryIPv6Addresses":null,"EndpointID":"e1","Gateway":"172.17.0.1","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"IPAddress":"172.17.0.2","IPPrefixLen":16,"IPv6Gateway":"","MacAddress":"02:42:ac:11:00:02","Networks":{"bridge":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"02:42:ac:11:00:02","DriverOpts":null,"GwPriority":0,"NetworkID":"n1","EndpointID":"e1","Gateway":"172.17.0.1","IPAddress":"172.17.0.2","IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}}}"#;

const IMAGE_DOCUMENT: &str = r#"{"Id":"sha256:08b152afcfae220e9709f00767054b824361c742ea03a9fe936271ba520a0a4b","RepoTags":["nginx:latest"],"RepoDigests":["nginx@sha256:aa"],"Parent":"","Comment":"","Created":"2025-11-20T10:11:12Z","DockerVersion":"","Author":"me","Config":{"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],"Entrypoint":["/e.sh"],"Cmd":["nginx"],"Labels":{"m":"n"},"StopSignal":"SIGQUIT"},"Architecture":"amd64","Os":"linux","Size":133000000,"GraphDriver":{"Data":{"UpperDir":"/u"},"Name":"overlay2"},"RootFS":{"Type":"layers","Layers":["sha256:l1","sha256:l2"]},"Metadata":{"LastTagTime":"0001-01-01T00:00:00Z"}}"#;

/// Of the container, and what `inspect` prints.
#[rustfmt::skip]
const VALID: &[(&str, &str)] = &[
    ("{{.Id}}", "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"),
    ("{{.ID}}", "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"),
    ("{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}} {{.State.OOMKilled}} {{.State.Error}}", "running 0 true 1234 false "),
    ("{{.State.StartedAt}} {{.State.FinishedAt}}", "2025-11-20T10:11:13.5Z 0001-01-01T00:00:00Z"),
    ("{{.Name}} {{.Config.Image}} {{.Path}} {{.Args}}", "/web nginx:1.27 sh [-c echo <hi> & sleep]"),
    ("{{json .Config.Env}}", r#"["A=1","PATH=/usr/bin:/bin"]"#),
    ("{{json .State.Running}} {{json .HostConfig.Binds}} {{json .Config.Entrypoint}}", r#"true ["/tmp:/t:ro"] null"#),
    ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nPATH=/usr/bin:/bin\n"),
    (r#"{{index .Config.Labels "app"}}"#, "web"),
    (r#"{{index .Config.Labels "nope"}}"#, ""),
    ("{{.Config.Labels.app}} {{.Config.Labels.nope}}", "web <no value>"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;app=web;z=;"),
    ("{{len .Config.Env}} {{index .Config.Env 0}}", "2 A=1"),
    (r#"{{upper .Name}} {{lower "ABC"}} {{join .Config.Cmd ","}} {{split "a.b" "."}} {{title "word here"}}"#, "/WEB abc sh,-c,echo <hi> & sleep [a b] Word Here"),
    (r#"{{printf "%s-%d" .Name .RestartCount}}"#, "/web-2"),
    ("{{if .State.Running}}up{{else}}down{{end}} {{with .State.Health}}h{{else}}none{{end}}", "up h"),
    (r#"{{eq .State.Status "created"}} {{not .State.Running}} {{and true .State.Running}} {{or "" "x"}}"#, "false false true x"),
    (r#"{{ .Name | printf "%.3s" }} {{slice .ID 0 2 | len}}"#, "/we 2"),
    (r#"{{ .Name | printf "%.3s" }} {{slice .Id 0 2 | len}}"#, "/we 2"),
    ("{{.Config.Env}}|{{.Config.Cmd}}|{{.Config.Labels}}|{{.Config.Entrypoint}}|{{.HostConfig.Binds}}|{{.State.Running}}|{{.HostConfig.Memory}}", "[A=1 PATH=/usr/bin:/bin]|[sh -c echo <hi> & sleep]|map[a.b:c app:web z:]|[]|[/tmp:/t:ro]|true|64"),
    ("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy}} {{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.HostConfig.Tmpfs}} {{.HostConfig.Dns}} {{.HostConfig.PortBindings}} {{.HostConfig.Init}} {{.HostConfig.OomScoreAdj}}", "64 1500 map[MaximumRetryCount:3 Name:on-failure] [CAP_NET_ADMIN] <no value> map[/x:size=1m] [1.2.3.4] map[80/tcp:[map[HostIp: HostPort:8080]] 81/udp:<nil>] true 10"),
    ("{{.HostConfig.NanoCPUs}} {{.HostConfig.RestartPolicy}} {{.HostConfig.DNS}} {{.HostConfig.Sysctls}}", "1500 {on-failure 3} [1.2.3.4] map[net.core.somaxconn:100]"),
    ("{{.HostConfig.PortBindings}}", "map[80/tcp:[{ 8080}] 81/udp:[]]"),
    ("{{json .HostConfig.Ulimits}} {{json .HostConfig.PortBindings}}", r#"[{"Name":"nofile","Hard":20,"Soft":10}] {"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/udp":null}"#),
    ("{{.HostConfig.Ulimits}} {{.HostConfig.BlkioWeightDevice}} {{.HostConfig.Devices}}", "[nofile=10:20] [/dev/sda:100] [{/dev/null /dev/n rwm}]"),
    ("{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}} {{.Mode}}{{println}}{{end}}", "volume v1 /one true z\nbind  /t false ro\n"),
    ("{{.Mounts}}", "[{volume v1 /v/_data /one local z true } {bind  /tmp /t  ro false rprivate}]"),
    ("{{json .Mounts}}", r#"[{"Type":"volume","Name":"v1","Source":"/v/_data","Destination":"/one","Driver":"local","Mode":"z","RW":true,"Propagation":""},{"Type":"bind","Source":"/tmp","Destination":"/t","Mode":"ro","RW":false,"Propagation":"rprivate"}]"#),
    ("{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}}", "172.17.0.2 172.17.0.1"),
    ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}} {{$v.IPPrefixLen}}{{end}}", "bridge 172.17.0.2 16"),
    ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
    ("{{.NetworkSettings.Networks.bridge.IPAddress}}", "172.17.0.2"),
    (r#"{{(index .NetworkSettings.Networks "bridge").IPAddress}}"#, "172.17.0.2"),
    (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#, "8080"),
    (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}}"#, "0.0.0.0"),
    (r#"{{index .NetworkSettings.Ports "81/udp"}}"#, "<no value>"),
    (r#"{{index .NetworkSettings.Ports "99/udp"}}"#, "<no value>"),
    ("{{json .NetworkSettings.Ports}}", r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"81/udp":null}"#),
    ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080} {:: 8080}] 81/udp:[]]"),
    ("{{range $p, $conf := .NetworkSettings.Ports}}{{if $conf}}{{$p}} -> {{(index $conf 0).HostPort}} {{end}}{{end}}", "80/tcp -> 8080 "),
    ("{{range $p, $conf := .Config.ExposedPorts}}{{$p}} {{$conf}} {{end}}", "80/tcp {} 81/udp {} "),
    ("{{.Config.ExposedPorts}}", "map[80/tcp:{} 81/udp:{}]"),
    ("{{.State.Health.Status}} {{len .State.Health.Log}}", "healthy 1"),
    ("{{range .State.Health.Log}}{{.Start}} {{.End}} {{.ExitCode}} {{.Output}}{{end}}", "2025-11-20 10:11:14.5 +0000 UTC 2025-11-20 10:11:14.6 +0200 +0200 0 ok\n"),
    ("{{json .State.Health}}", r#"{"Status":"healthy","FailingStreak":0,"Log":[{"Start":"2025-11-20T10:11:14.5Z","End":"2025-11-20T10:11:14.6+02:00","ExitCode":0,"Output":"ok\n"}]}"#),
    ("{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}} {{.Config.Healthcheck.Test}} {{.Config.Healthcheck.Retries}}", "3µs 0s [CMD-SHELL true] 3"),
    (r#"{{printf "%d %s %v %T" .Config.Healthcheck.Interval .Config.Healthcheck.Interval .Config.Healthcheck.Interval .Config.Healthcheck.Interval}}"#, "3000 3µs 3µs time.Duration"),
    ("{{json .Config.Healthcheck}}", r#"{"Test":["CMD-SHELL","true"],"Interval":3000,"Retries":3}"#),
    ("{{.Config.Healthcheck}}", "{[CMD-SHELL true] 3µs 0s 0s 0s 3}"),
    ("{{.Config.StopTimeout}} {{.Config.StopSignal}} {{.Config.Shell}} {{.Config.MacAddress}} {{.Config.ArgsEscaped}} {{.Config.NetworkDisabled}}", "5  []  false false"),
    ("{{.HostConfig.Init}} {{.HostConfig.PidsLimit}} {{.HostConfig.MemorySwappiness}} {{.HostConfig.OomKillDisable}} {{.HostConfig.Annotations}} {{.HostConfig.StorageOpt}} {{.HostConfig.Mounts}}", "true 50 <nil> false map[] map[] []"),
    (r#"{{.HostConfig.LogConfig}} {{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config "max-size"}}"#, "{json-file map[max-size:10m]} json-file 10m"),
    ("{{.HostConfig.ConsoleSize}}", "[24 80]"),
    ("{{json .HostConfig.RestartPolicy}} {{json .HostConfig.LogConfig}}", r#"{"Name":"on-failure","MaximumRetryCount":3} {"Type":"json-file","Config":{"max-size":"10m"}}"#),
    ("{{.GraphDriver.Data.UpperDir}} {{.GraphDriver.Name}} {{.GraphDriver}}", "/u overlay2 {map[LowerDir:/l UpperDir:/u] overlay2}"),
    ("{{.ExecIDs}} {{json .ExecIDs}} {{.SizeRw}} {{.SizeRootFs}}", "[] null <nil> <nil>"),
    ("{{.Config.Volumes}} {{json .Config.Volumes}}", "map[] null"),
    ("{{.Mounts | len}} {{range $i, $m := .Mounts}}{{if $i}}, {{end}}{{$m.Destination}}{{end}}", "2 /one, /t"),
    ("{{range $i, $e := .Config.Env}}{{$i}}:{{$e}} {{end}}", "0:A=1 1:PATH=/usr/bin:/bin "),
    ("{{with .Config.User}}x{{else with .Name}}y{{.}}{{else}}z{{end}}", "y/web"),
    (r#"{{if .Config.User}}a{{else if eq .Name "/web"}}b{{else}}c{{end}}"#, "b"),
    ("{{$n := .Name}}{{range .Mounts}}{{$n}}{{end}}", "/web/web"),
    ("{{$n := 1}}{{range .Mounts}}{{$n = .Source}}{{end}}{{$n}}", "/tmp"),
    ("{{range .Mounts}}{{if .RW}}{{continue}}{{end}}{{.Source}}{{end}}", "/tmp"),
    ("{{range .Mounts}}{{.Source}}{{break}}{{end}}", "/v/_data"),
    ("{{range 3}}{{.}}{{end}} {{range $i := 3}}{{$i}}{{end}}", "012 012"),
    ("{{range .Config.Volumes}}x{{else}}none{{end}}", "none"),
    ("{{range .State}}x{{end}}", "xxxxxxxxxxxx"),
    (r#"{{define "m"}}[{{.}}]{{end}}{{template "m" .Name}}{{template "m"}}"#, "[/web][<no value>]"),
    (r#"{{block "b" .Name}}<{{.}}>{{end}}"#, "</web>"),
    ("{{index .Name 1}}", "119"),
    (r#"{{index .State "a"}}"#, "<no value>"),
    ("{{len .State}} ", "12 "),
    ("{{len .Config.Healthcheck}}", "3"),
    ("{{slice .Config.Env 1}} {{slice .Config.Env 0 1}} {{slice .Name 1 3}}", "[PATH=/usr/bin:/bin] [A=1] we"),
    (r#"{{html "<a href=\"x\">&'"}} {{js "it's <b> \"x\" é"}} {{urlquery "a b&c=d/é"}}"#, r#"&lt;a href=&#34;x&#34;&gt;&amp;&#39; it\'s \u003Cb\u003E \"x\" é a+b%26c%3Dd%2F%C3%A9"#),
    ("{{html .Config.Labels}} {{js .Config.Env}} {{urlquery .Config.Env}}", r"map[a.b:c app:web z:] [A\u003D1 PATH\u003D/usr/bin:/bin] %5BA%3D1+PATH%3D%2Fusr%2Fbin%3A%2Fbin%5D"),
    (r#"{{print 1 2 "x" 3 nil true 1.5}} {{println "a" 1}}{{print "a" "b"}} {{print}}"#, "1 2x3 <nil> true 1.5 a 1\nab "),
    ("{{print .Config.Labels .Config.Env}}", "map[a.b:c app:web z:] [A=1 PATH=/usr/bin:/bin]"),
    (r#"{{eq 1 1}} {{eq 1 2 1}} {{eq "a" "b" "a"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}"#, "true true true true true true false true"),
    ("{{eq .State nil}} {{eq nil .Config.Entrypoint}} {{eq .Config.Entrypoint nil}} {{eq .State.Health nil}}", "false true true false"),
    ("{{eq .State .State}}", "true"),
    ("{{eq nil nil}} {{ne nil 1}}", "true true"),
    ("{{gt .RestartCount 0}} {{gt .HostConfig.Memory 0}} {{eq .HostConfig.BlkioWeight 0}} {{lt .NetworkSettings.IPPrefixLen 17}}", "true true true true"),
    (r#"{{and 1 0 2}} {{or 0 "" "x"}} {{and true}} {{or false}} {{not 1}} {{not ""}}"#, "0 x true false false true"),
    ("{{or .Name .Nope}}", "/web"),
    ("{{1 | and 2}} {{0 | or 0}}", "1 0"),
    (r#"{{and (eq .Name "/web") .State.Running}}"#, "true"),
    (r#"{{join .Config.Entrypoint ","}}|{{join .Config.Env " "}}"#, "|A=1 PATH=/usr/bin:/bin"),
    (r#"{{join nil ","}}"#, ""),
    (r#"{{split "a,b,c" ","}} {{index (split "a,b" ",") 1}} {{split "" ","}} {{split "abc" ""}} {{len (split "" "")}}"#, "[a b c] b [] [a b c] 0"),
    (r#"{{pad "x" 1 2}}| {{pad "" 1 2}}|{{pad .Name 0 3}}|"#, " x  | |/web   |"),
    (r#"{{pad "x" 1.0 0}}|"#, " x|"),
    (r#"{{truncate "hello" 3}} {{truncate "hi" 3}} {{truncate "abc" 3}}"#, "hel hi abc"),
    (r#"{{title "hello wORLD foo-bar it's a_b"}} {{lower "ÀÉ"}} {{upper "straße"}}"#, "Hello WORLD Foo-Bar It'S A_b àé STRAßE"),
    (r#"{{json "a<b>&\"'"}} {{json 1}} {{json 1.5}} {{json nil}} {{json true}} {{json 'a'}}"#, r#""a<b>&\"'" 1 1.5 null true 97"#),
    ("{{json .Config.Labels.nope}}", "null"),
    (r#"{{printf "%s %v %q %d %x %t %5.2f|%5s|%-5s|%05d|%+d" "a" 1 "q\"x" 3 255 true 3.14159 "ab" "ab" 42 7}}"#, r#"a 1 "q\"x" 3 ff true  3.14|   ab|ab   |00042|+7"#),
    (r#"{{printf "%d" "x"}} {{printf "%s" 1}} {{printf "%t" 1}} {{printf "%f" 1}} {{printf "%z" 1}} {{printf "%!" 1}}"#, "%!d(string=x) %!s(int=1) %!t(int=1) %!f(int=1) %!z(int=1) %!!(int=1)"),
    (r#"{{printf "%d"}} {{printf "%d %d" 1}} {{printf "a" 1 "b" nil}} {{printf "%"}} {{printf "100%%"}}"#, "%!d(MISSING) 1 %!d(MISSING) a%!(EXTRA int=1, string=b, <nil>) %!(NOVERB) 100%"),
    (r#"{{printf "%v %v %v %v" .Config.Env .Config.Labels .State.Running .Config.Entrypoint}}"#, "[A=1 PATH=/usr/bin:/bin] map[a.b:c app:web z:] true []"),
    (r#"{{printf "%s" .Config.Env}} {{printf "%q" .Config.Env}} {{printf "%d" .Config.Env}} {{printf "%x" .Config.Env}}"#, r#"[A=1 PATH=/usr/bin:/bin] ["A=1" "PATH=/usr/bin:/bin"] [%!d(string=A=1) %!d(string=PATH=/usr/bin:/bin)] [413d31 504154483d2f7573722f62696e3a2f62696e]"#),
    (r#"{{printf "%v" nil}} {{printf "%s" nil}} {{printf "%d" nil}} {{printf "%T" nil}}"#, "<nil> %!s(<nil>) %!d(<nil>) <nil>"),
    (r#"{{printf "%T %T %T %T %T %T" 1 1.5 "a" true .Config.Env .Config.Labels}}"#, "int float64 string bool []string map[string]string"),
    (r#"{{printf "%T" .RestartCount}} {{printf "%T" .HostConfig.Memory}} {{printf "%T" .State.Pid}}"#, "int int64 int"),
    (r#"{{printf "%*d|%-*d|%.*f" 5 1 5 2 2 3.14159}}"#, "    1|2    |3.14"),
    (r#"{{printf "%[2]d %[1]d" 1 2}} {{printf "%[3]d" 1}} {{printf "%[x]d" 1}} {{printf "%[1]d %d" 1 2}} {{printf "%[1" 1}}"#, "2 1 %!d(BADINDEX) %!d(BADINDEX) 1 2 %!(NOVERB)"),
    (r#"{{printf "%*d" "a" 1}} {{printf "%.*d" -1 1}}"#, "%!(BADWIDTH)1 %!(BADPREC)1"),
    (r#"{{printf "%c %U %#U %q %o %O %b %#x %#o %X" 65 65 65 65 8 8 5 255 8 255}}"#, "A U+0041 U+0041 'A' 'A' 10 0o10 101 0xff 010 FF"),
    (r#"{{printf "%e %E %g %G %F %.3g %.0f" 1500.5 1500.5 1500.5 1e30 1.5 1234.5 2.5}}"#, "1.500500e+03 1.500500E+03 1500.5 1E+30 1.500000 1.23e+03 2"),
    (r#"{{printf "%6.2f|%-8.2f|%08.2f|%+.1f|% d" 3.14159 3.14159 -3.14159 2.0 5}}"#, "  3.14|3.14    |-0003.14|+2.0| 5"),
    (r#"{{printf "%x %X % x %#x %# x" "hello" "hello" "hello" "hello" "hello"}}"#, "68656c6c6f 68656C6C6F 68 65 6c 6c 6f 0x68656c6c6f 0x68 0x65 0x6c 0x6c 0x6f"),
    (r#"{{printf "%10v|%-10v|%10q" "abc" "abc" "abc"}} {{printf "%+q %#q" "é\n" "a"}}"#, r#"       abc|abc       |     "abc" "\u00e9\n" `a`"#),
    (r#"{{printf "%5t|%-7t|" true false}} {{printf "%05s|" "ab"}} {{printf "%5d|" "ab"}}"#, " true|false  | 000ab| %!d(string=   ab)|"),
    (r#"{{printf "%.2s|%.10s|%.0s|" "héllo" "abc" "abc"}}"#, "hé|abc||"),
    (r#"{{printf "%v|%+v" (index .Mounts 1) (index .Mounts 1)}}"#, "{bind  /tmp /t  ro false rprivate}|{Type:bind Name: Source:/tmp Destination:/t Driver: Mode:ro RW:false Propagation:rprivate}"),
    (r#"{{printf "%3d|%-3d|" .Config.Env 5}}"#, "[%!d(string=A=1) %!d(string=PATH=/usr/bin:/bin)]|5  |"),
    (r#"{{printf "%5v" .Config.Env}}"#, "[  A=1 PATH=/usr/bin:/bin]"),
    (r#"{{printf "%d %s"  .RestartCount .Id}}"#, "%!d(json.Number=2) 4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"),
    (r#"{{"a" | printf "%s-%s" "b"}}"#, "b-a"),
    (r#"{{1}} {{-1}} {{1.5}} {{1e3}} {{0x1F}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{'a'}} {{'\n'}} {{true}} {{"s"}} {{`raw\n`}} {{1e100}} {{0x1p4}} {{.5}}"#, r"1 -1 1.5 1000 31 3 15 15 1000 97 10 true s raw\n 1e+100 16 0.5"),
    ("{{$x := 1}}{{$x}} {{$x = 2}}{{$x}}", "1 2"),
    ("{{$.Name}} {{range .Mounts}}{{$.Name}}{{end}}", "/web /web/web"),
    ("{{$x := .State}}{{$x.Status}}", "running"),
    ("{{((.Name))}} {{(.State).Status}} {{(.State.Health).Status}}", "/web running healthy"),
    ("{{1 |}}", "1"),
    ("{{. | len}}", "23"),
    (r#"{{"\x41\u00e9\U0001F600\101"}}"#, "Aé😀A"),
    ("{{/* c */}}x{{/* d */ -}}  y", "xy"),
    (r#"{{- "a" -}}  b  {{- "c"}}"#, "abc"),
    ("a  {{- .Name -}}  b", "a/webb"),
    ("{{-3}} {{- 3}}", "-33"),
    ("{{- -3 -}}", "-3"),
    (r#"{{.Name}}}} {{"}}"}}"#, "/web}} }}"),
    (r#"}} {{"{{"}}"#, "}} {{"),
    ("}}", "}}"),
    (".Nope", ".Nope"),
    ("a", "a"),
    (r#"{{$x := 1 | printf "%d-%d" 2}}{{$x}}"#, "2-1"),
    (r#"{{index .Config.Labels "a.b"}}"#, "c"),
    (r#"{{"é" | len}}"#, "2"),
    (r#"{{printf "%-20s|" .Name}}{{printf "%20s|" "世界"}}"#, "/web                |                  世界|"),
    ("{{range $i, $x := .Config.Env}}{{if eq $i 1}}{{$x}}{{end}}{{end}}", "PATH=/usr/bin:/bin"),
    (r#"{{range $x := .Config.Env}}{{with split $x "="}}{{index . 0}}->{{index . 1}} {{end}}{{end}}"#, "A->1 PATH->/usr/bin:/bin "),
    ("{{if and (eq 1 1) (or false true)}}yes{{end}}", "yes"),
    (r#"{{if eq .State.Status "running" "paused"}}y{{end}}"#, "y"),
    (r#"{{if not (index .Config.Labels "nope")}}absent{{end}}"#, "absent"),
    (r#"{{if (index .Config.Labels "nope")}}there{{else}}absent{{end}} {{.Id}}"#, "absent 4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"),
    ("{{if .Config.Labels}}{{range $k,$v:=.Config.Labels}}{{$k}}:{{$v}},{{end}}{{end}}", "a.b:c,app:web,z:,"),
    ("{{ len .Config.Labels }} {{ len .NetworkSettings.Ports }}", "3 2"),
    ("{{index .Args 0}} {{index .Mounts 0}} {{(index .Mounts 0).Name}}", "-c {volume v1 /v/_data /one local z true } v1"),
    ("{{println .Name .Path}}", "/web sh\n"),
    ("{{.Config.Env | json | len}}", "28"),
    (r#"{{join .HostConfig.Binds ", "}}"#, "/tmp:/t:ro"),
    ("{{.Created}} {{.LogPath}} {{.Platform}} {{.Driver}}", "2025-11-20T10:11:12.123456789Z /l-json.log linux overlay2"),
    ("{{.HostConfig.NetworkMode}} {{upper .HostConfig.VolumeDriver}}", "bridge "),
    (r#"{{.HostConfig.ShmSize}} {{printf "%.1f" .HostConfig.ShmSize}}"#, "65 %!f(int64=65)"),
    ("{{json .State.Health.Log}}", r#"[{"Start":"2025-11-20T10:11:14.5Z","End":"2025-11-20T10:11:14.6+02:00","ExitCode":0,"Output":"ok\n"}]"#),
    ("{{.NetworkSettings.SecondaryIPAddresses}} {{json .NetworkSettings.SecondaryIPAddresses}}", "[] null"),
    ("{{.Config.Volumes.x}}", "<no value>"),
    ("{{.Config.Volumes.x.y}}", "<no value>"),
    ("{{with index .Mounts 0}}{{.Name}}{{end}}", "v1"),
    ("{{with .Mounts}}{{len .}}{{end}}", "2"),
    (r#"{{template "x" .}}{{define "x"}}{{range .Mounts}}{{template "y" .}}{{end}}{{end}}{{define "y"}}{{.Type}};{{end}}"#, "volume;bind;"),
    ("{{.State.Running | not}}", "false"),
    (r#"{{.RestartCount | printf "%03d"}}"#, "002"),
    ("{{print .State.Running .RestartCount}}", "true 2"),
    ("{{print .RestartCount .State.Pid}}", "2 1234"),
    (r#"{{eq .RestartCount 2}} {{eq .State.Pid 1234}} {{ne .Name "x"}}"#, "true true true"),
    (r#"{{eq .Name .Path "/web"}}"#, "true"),
    ("{{not .Config.Healthcheck}} {{not .Config.Volumes}}", "false true"),
    (r#"{{printf "%v %s" .Config.Healthcheck.Test .Config.Healthcheck.Interval}}"#, "[CMD-SHELL true] 3µs"),
    ("{{ .Config.Labels | json }}", r#"{"a.b":"c","app":"web","z":""}"#),
    ("{{range $k, $_ := .NetworkSettings.Networks}}{{$k}}{{end}}", "bridge"),
    ("{{ .Name\n}}", "/web"),
    ("{{`a\nb`}}", "a\nb"),
    ("{{range .Mounts}}\n{{.Source}}\n{{end}}", "\n/v/_data\n\n/tmp\n"),
    ("\n\n{{.Name | \n upper}}", "\n\n/WEB"),
];

/// Of the container, and why `inspect` refuses it, after `template parsing error: template: `.
#[rustfmt::skip]
const WRONG: &[(&str, &str)] = &[
    ("{{.Nope", ":1: unclosed action"),
    ("{{.Nope}}", r#":1:2: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{nofunc .Id}}", r#":1: function "nofunc" not defined"#),
    ("{{index .Config.Env 5}}", r#":1:2: executing "" at <index .Config.Env 5>: error calling index: index out of range: 5"#),
    ("{{index .Config.Env 2}}", r#":1:2: executing "" at <index .Config.Env 2>: error calling index: reflect: slice index out of range"#),
    (r#"{{(index .NetworkSettings.Networks "nope").IPAddress}}"#, r#":1:35: executing "" at <"nope">: nil data; no entry for key "IPAddress""#),
    (r#"{{(index (index .NetworkSettings.Ports "99/tcp") 0).HostPort}}"#, r#":1:3: executing "" at <index (index .NetworkSettings.Ports "99/tcp") 0>: error calling index: index of untyped nil"#),
    ("{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{(index $conf 0).HostPort}} {{end}}", r#":1:58: executing "" at <index $conf 0>: error calling index: index of untyped nil"#),
    ("{{with $x := .Name}}{{$x}}{{end}}{{with .Nope}}x{{end}}", r#":1:40: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{range $i, $e := 3}}{{$i}}{{end}}", r#":1:18: executing "" at <3>: can't use 3 to iterate over more than one variable"#),
    ("{{range .Name}}x{{end}}", r#":1:8: executing "" at <.Name>: range can't iterate over /web"#),
    (r#"{{define "e"}}{{.Nope}}{{end}}{{template "e" .}}"#, r#":1:16: executing "e" at <.Nope>: map has no entry for key "Nope""#),
    (r#"{{template "nope"}}"#, r#":1:11: executing "" at <{{template "nope"}}>: template "nope" not defined"#),
    ("{{.Name.Foo}}", r#":1:7: executing "" at <.Name.Foo>: can't evaluate field Foo in type interface {}"#),
    ("{{.State.Foo}}", r#":1:8: executing "" at <.State.Foo>: map has no entry for key "Foo""#),
    ("{{.State.Health.Foo}}", r#":1:8: executing "" at <.State.Health.Foo>: map has no entry for key "Foo""#),
    ("{{.RestartCount.Foo}}", r#":1:15: executing "" at <.RestartCount.Foo>: can't evaluate field Foo in type interface {}"#),
    ("{{range .Mounts}}{{.Foo}}{{end}}", r#":1:19: executing "" at <.Foo>: map has no entry for key "Foo""#),
    ("{{.Config.Labels.app.foo}}", r#":1:9: executing "" at <.Config.Labels.app.foo>: can't evaluate field foo in type interface {}"#),
    ("{{index .Config.Labels 1}}", r#":1:2: executing "" at <index .Config.Labels 1>: error calling index: value has type int; should be string"#),
    (r#"{{index .Config.Env "a"}}"#, r#":1:2: executing "" at <index .Config.Env "a">: error calling index: cannot index slice/array with type string"#),
    ("{{index nil 1}}", r#":1:2: executing "" at <index nil 1>: error calling index: index of untyped nil"#),
    ("{{index .Config.Nope 1}}", r#":1:15: executing "" at <.Config.Nope>: map has no entry for key "Nope""#),
    ("{{len 3}}", r#":1:2: executing "" at <len 3>: error calling len: len of type int"#),
    ("{{len nil}}", r#":1:2: executing "" at <len nil>: error calling len: reflect: call of reflect.Value.Type on zero Value"#),
    ("{{slice .Name 3 1}}", r#":1:2: executing "" at <slice .Name 3 1>: error calling slice: invalid slice index: 3 > 1"#),
    ("{{slice .Name 1 2 3}}", r#":1:2: executing "" at <slice .Name 1 2 3>: error calling slice: cannot 3-index slice a string"#),
    ("{{slice .Name 99}}", r#":1:2: executing "" at <slice .Name 99>: error calling slice: index out of range: 99"#),
    ("{{slice 1}}", r#":1:2: executing "" at <slice 1>: error calling slice: can't slice item of type int"#),
    ("{{slice .Name 1 2 3 4}}", r#":1:2: executing "" at <slice .Name 1 2 3 4>: error calling slice: too many slice indexes: 4"#),
    (r#"{{html 1 2 "x"}} {{html .Nope}}"#, r#":1:24: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{call .Name}}", r#":1:2: executing "" at <call .Name>: error calling call: non-function .Name of type string"#),
    ("{{call nil}}", r#":1:2: executing "" at <call nil>: error calling call: call of nil"#),
    ("{{call}}", r#":1:2: executing "" at <call>: wrong number of args for call: want at least 1 got 0"#),
    (r#"{{"x" | call}}"#, r#":1:8: executing "" at <call>: error calling call: non-function x of type string"#),
    (r#"{{eq 1 "a"}}"#, r#":1:2: executing "" at <eq 1 "a">: error calling eq: incompatible types for comparison: int and string"#),
    ("{{eq 1 1.0}}", r#":1:2: executing "" at <eq 1 1.0>: error calling eq: incompatible types for comparison: int and float64"#),
    ("{{eq .Name}}", r#":1:2: executing "" at <eq .Name>: error calling eq: missing argument for comparison"#),
    ("{{eq .Config.Env .Config.Env}}", r#":1:2: executing "" at <eq .Config.Env .Config.Env>: error calling eq: non-comparable type [A=1 PATH=/usr/bin:/bin]: []interface {}"#),
    ("{{eq .State .Name}}", r#":1:2: executing "" at <eq .State .Name>: error calling eq: incompatible types for comparison: map[string]interface {} and string"#),
    (r#"{{lt "a" "b"}} {{lt 1.5 2.5}} {{lt true false}}"#, r#":1:32: executing "" at <lt true false>: error calling lt: invalid type for comparison"#),
    (r#"{{lt 1 "a"}}"#, r#":1:2: executing "" at <lt 1 "a">: error calling lt: incompatible types for comparison: int and string"#),
    ("{{lt .State 1}}", r#":1:2: executing "" at <lt .State 1>: error calling lt: invalid type for comparison"#),
    ("{{and 1 0 2}} {{and}} ", r#":1:16: executing "" at <and>: wrong number of args for and: want at least 1 got 0"#),
    ("{{and .Name .Nope}}", r#":1:12: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{not}}", r#":1:2: executing "" at <not>: wrong number of args for not: want 1 got 0"#),
    ("{{not 1 2}}", r#":1:2: executing "" at <not>: wrong number of args for not: want 1 got 2"#),
    ("{{upper 1}}", r#":1:8: executing "" at <1>: expected string; found 1"#),
    ("{{upper .RestartCount}}", r#":1:8: executing "" at <.RestartCount>: wrong type for value; expected string; got json.Number"#),
    ("{{upper nil}}", r#":1:8: executing "" at <nil>: cannot assign nil to string"#),
    ("{{upper .Nope}}", r#":1:8: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{upper .Config.Labels.nope}}", r#":1:15: executing "" at <.Config.Labels.nope>: map has no entry for key "nope""#),
    ("{{upper}}", r#":1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0"#),
    (r#"{{upper "a" "b"}}"#, r#":1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 2"#),
    (r#"{{"a" | upper "b"}}"#, r#":1:8: executing "" at <upper>: wrong number of args for upper: want 1 got 2"#),
    (r#"{{join "a" ","}}"#, r#":1:7: executing "" at <"a">: can't handle "a" for arg of type []string"#),
    (r#"{{pad "x" -1 0}}"#, r#":1:2: executing "" at <pad "x" -1 0>: error calling pad: strings: negative Repeat count"#),
    (r#"{{pad "x" 1.5 0}}"#, r#":1:10: executing "" at <1.5>: expected integer; found 1.5"#),
    (r#"{{pad "x" "a" 0}}"#, r#":1:10: executing "" at <"a">: expected integer; found "a""#),
    (r#"{{truncate "hello" -1}}"#, r#":1:2: executing "" at <truncate "hello" -1>: error calling truncate: runtime error: slice bounds out of range [:-1]"#),
    ("{{truncate .Name 2}} {{.Name | truncate}}", r#":1:31: executing "" at <truncate>: wrong number of args for truncate: want 2 got 1"#),
    ("{{json .Nope}}", r#":1:7: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{printf 1}}", r#":1:9: executing "" at <1>: expected string; found 1"#),
    ("{{printf}}", r#":1:2: executing "" at <printf>: wrong number of args for printf: want at least 1 got 0"#),
    ("{{nil}}", r#":1:2: executing "" at <nil>: nil is not a command"#),
    ("{{1 2}}", r#":1:2: executing "" at <1>: can't give argument to non-function 1"#),
    ("{{.Name 1}}", r#":1:2: executing "" at <.Name>: Name is not a method but has arguments"#),
    ("{{.Config.Labels.app 1}}", r#":1:9: executing "" at <.Config.Labels.app>: app is not a method but has arguments"#),
    (r#"{{"a" "b"}}"#, r#":1:2: executing "" at <"a">: can't give argument to non-function "a""#),
    ("{{$x}}", r#":1: undefined variable "$x""#),
    ("{{$x = 1}}", r#":1:7: executing "" at <1>: undefined variable: $x"#),
    ("{{if}}x{{end}}", ":1: missing value for if"),
    ("{{if .}}x", ":1: unexpected EOF"),
    ("{{end}}", ":1: unexpected {{end}}"),
    ("{{else}}", ":1: unexpected {{else}}"),
    ("{{if 1}}{{else}}{{else}}{{end}}", ":1: expected end; found {{else}}"),
    ("{{range}}{{end}}", ":1: missing value for range"),
    ("{{with}}{{end}}", ":1: missing value for with"),
    ("{{break}}", ":1: {{break}} outside {{range}}"),
    ("{{continue}}", ":1: {{continue}} outside {{range}}"),
    ("{{range .Mounts}}{{break 1}}{{end}}", r#":1: unexpected "1" in {{break}}"#),
    ("{{template}}", r#":1: unexpected "}}" in template clause"#),
    ("{{template 1}}", r#":1: unexpected "1" in template clause"#),
    ("{{define}}", r#":1: unexpected "}}" in define clause"#),
    (r#"{{define "x"}}"#, ":1: unexpected EOF"),
    (r#"{{define "x"}}a{{end}}{{define "x"}}b{{end}}"#, r#":1: template: multiple definition of template "x""#),
    (r#"{{block "x"}}{{end}}"#, ":1: missing value for block clause"),
    (r#"{{if 1}}{{define "x"}}{{end}}{{end}}"#, ":1: unexpected <define> in command"),
    ("{{(1)}} {{(1).x}}", r#":1:11: executing "" at <1>: can't evaluate field x in type int"#),
    ("{{(1}}", ":1: unclosed left paren"),
    ("{{1)}}", ":1: unexpected right paren"),
    ("{{()}}", ":1: missing value for parenthesized pipeline"),
    ("{{1 | 2}}", ":1: non executable command in pipeline stage 2"),
    ("{{| 1}}", r#":1: unexpected "|" in command"#),
    ("{{.Name | .Name}}", r#":1:10: executing "" at <.Name>: Name is not a method but has arguments"#),
    (r#"{{"x" | 1}}"#, ":1: non executable command in pipeline stage 2"),
    ("{{1.}} {{1.5.5}}", r#":1: unexpected ".5" in operand"#),
    ("{{1.x}}", r#":1: bad number syntax: "1.x""#),
    (r#"{{"a".x}}"#, r#":1: unexpected . after term "\"a\"""#),
    ("{{nil.x}}", r#":1: unexpected . after term "nil""#),
    ("{{true.x}}", r#":1: unexpected . after term "true""#),
    ("{{..}}", ":1: unexpected <.> in operand"),
    ("{{.a b}}", r#":1: function "b" not defined"#),
    ("{{a}}", r#":1: function "a" not defined"#),
    ("{{3x}}", r#":1: bad number syntax: "3x""#),
    ("{{0x}}", r#":1: illegal number syntax: "0x""#),
    ("{{99999999999999999999}}", r#":1: integer overflow: "99999999999999999999""#),
    ("{{9223372036854775808}}", r#":1:2: executing "" at <9223372036854775808>: 9223372036854775808 overflows int"#),
    ("{{'ab'}}", ":1: malformed character constant: 'ab'"),
    ("{{''}}", ":1: invalid syntax"),
    ("{{'a}}", ":1: unterminated character constant"),
    (r#"{{"a}}"#, ":1: unterminated quoted string"),
    ("{{`a}}", ":1: unterminated raw quoted string"),
    (r#"{{"\q"}}"#, ":1: invalid syntax"),
    ("{{/* c }}", ":1: unclosed comment"),
    ("{{/* c */ }}", ":1: comment ends before closing delimiter"),
    ("{{ .Name", ":1: unclosed action"),
    ("{{", ":1: unclosed action"),
    ("b {{.Nope}}", r#":1:4: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{if .Nope}}x{{end}}", r#":1:5: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{.Name:}}", ":1: expected :="),
    ("{{$x,$y := 1}}", ":1: too many declarations in command"),
    ("{{range $x,$y,$z := .Mounts}}{{end}}", ":1: too many declarations in range"),
    ("{{range $x, 1 := .Mounts}}{{end}}", ":1: range can only initialize variables"),
    ("{{$x := }}", ":1: missing value for command"),
    ("{{@}}", r#":1: unexpected "@" in command"#),
    ("{{#}}", r##":1: unexpected "#" in command"##),
    ("{{a-b}}", ":1: bad character U+002D '-'"),
    ("{{.a-b}}", ":1: bad character U+002D '-'"),
    (r#"{{.Config.Labels."a.b"}}"#, r#":1: bad character U+0022 '"'"#),
    ("{{é}}", r#":1: function "é" not defined"#),
    ("{{.é}}", r#":1:2: executing "" at <.é>: map has no entry for key "é""#),
    ("{{世}}", r#":1: function "世" not defined"#),
    ("{{.HostConfig.Binds | join}} ", r#":1:22: executing "" at <join>: wrong number of args for join: want 2 got 1"#),
    ("{{.Config.Env.Foo}}", r#":1:9: executing "" at <.Config.Env.Foo>: can't evaluate field Foo in type interface {}"#),
    ("{{.Config.Entrypoint.x}}", r#":1:9: executing "" at <.Config.Entrypoint.x>: nil pointer evaluating interface {}.x"#),
    ("{{.HostConfig.MemorySwappiness.x}}", r#":1:13: executing "" at <.HostConfig.MemorySwappiness.x>: nil pointer evaluating interface {}.x"#),
    ("{{.State.Status.x.y}}", r#":1:8: executing "" at <.State.Status.x.y>: can't evaluate field x in type interface {}"#),
    (r#"{{(printf "%s" .Name).x}}"#, r#":1:15: executing "" at <.Name>: can't evaluate field x in type string"#),
    ("{{len.x}}", r#":1:2: executing "" at <len>: wrong number of args for len: want 1 got 0"#),
    ("{{printf.x}}", r#":1:2: executing "" at <printf>: wrong number of args for printf: want at least 1 got 0"#),
    ("{{(nil).x}}", r#":1:3: executing "" at <nil>: nil is not a command"#),
    ("{{(index .Config.Env 0).x}}", r#":1:21: executing "" at <0>: can't evaluate field x in type string"#),
    ("{{with .State}}{{.Status}} {{$.Name}} {{.Nope}}{{end}}", r#":1:40: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{if true}}{{$v := 1}}{{end}}{{$v}}", r#":1: undefined variable "$v""#),
    ("{{with $v := 1}}{{end}}{{$v}}", r#":1: undefined variable "$v""#),
    ("{{range $v := .Mounts}}{{end}}{{$v}}", r#":1: undefined variable "$v""#),
    ("{{lt .RestartCount 5 6}}", r#":1:2: executing "" at <lt>: wrong number of args for lt: want 2 got 3"#),
    ("{{- range .Mounts }}", ":1: unexpected EOF"),
    ("{{ .Source }}:{{ .Destination }}", r#":1:3: executing "" at <.Source>: map has no entry for key "Source""#),
    ("{{- end }}", ":1: unexpected {{end}}"),
    ("a\nb {{.Nope}}", r#":2:4: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{\n.Nope\n}}", r#":2:0: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("a\n{{if .Nope\n", ":3: unclosed action started at :2"),
    ("{{\"a\nb\"}}", ":1: unterminated quoted string"),
    ("{{/* a\nb */}}\n{{.Nope}}", r#":3:2: executing "" at <.Nope>: map has no entry for key "Nope""#),
    ("{{if true}}\n\n{{end", ":3: unclosed action"),
    ("x\n  {{- .Nope}}", r#":2:6: executing "" at <.Nope>: map has no entry for key "Nope""#),
];

/// Of the container, and why it is refused where there is no JSON to fall back on.
#[rustfmt::skip]
const TYPED: &[(&str, &str)] = &[
    ("{{.Nope}}", r#"template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{.Id}}", r#"template: :1:2: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    ("{{.ID}} {{.Id}}", r#"template: :1:10: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    (r#"{{ .Name | printf "%.3s" }} {{slice .Id 0 2 | len}}"#, r#"template: :1:36: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    ("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy}} {{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.HostConfig.Tmpfs}} {{.HostConfig.Dns}} {{.HostConfig.PortBindings}} {{.HostConfig.Init}} {{.HostConfig.OomScoreAdj}}", r#"template: :1:36: executing "" at <.HostConfig.NanoCpus>: can't evaluate field NanoCpus in type *container.HostConfig"#),
    (r#"{{(index .NetworkSettings.Networks "nope").IPAddress}}"#, r#"template: :1:35: executing "" at <"nope">: nil pointer evaluating *network.EndpointSettings.IPAddress"#),
    (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#, r#"template: :1:10: executing "" at <index .NetworkSettings.Ports "80/tcp">: error calling index: value has type string; should be nat.Port"#),
    (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}}"#, r#"template: :1:10: executing "" at <index .NetworkSettings.Ports "80/tcp">: error calling index: value has type string; should be nat.Port"#),
    (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIP}}"#, r#"template: :1:10: executing "" at <index .NetworkSettings.Ports "80/tcp">: error calling index: value has type string; should be nat.Port"#),
    (r#"{{(index (index .NetworkSettings.Ports "99/tcp") 0).HostPort}}"#, r#"template: :1:10: executing "" at <index .NetworkSettings.Ports "99/tcp">: error calling index: value has type string; should be nat.Port"#),
    (r#"{{index .NetworkSettings.Ports "81/udp"}}"#, r#"template: :1:2: executing "" at <index .NetworkSettings.Ports "81/udp">: error calling index: value has type string; should be nat.Port"#),
    (r#"{{index .NetworkSettings.Ports "99/udp"}}"#, r#"template: :1:2: executing "" at <index .NetworkSettings.Ports "99/udp">: error calling index: value has type string; should be nat.Port"#),
    ("{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{(index $conf 0).HostPort}} {{end}}", r#"template: :1:58: executing "" at <index $conf 0>: error calling index: reflect: slice index out of range"#),
    ("{{with $x := .Name}}{{$x}}{{end}}{{with .Nope}}x{{end}}", r#"template: :1:40: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    (r#"{{define "e"}}{{.Nope}}{{end}}{{template "e" .}}"#, r#"template: :1:16: executing "e" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{.Name.Foo}}", r#"template: :1:7: executing "" at <.Name.Foo>: can't evaluate field Foo in type string"#),
    ("{{.State.Foo}}", r#"template: :1:8: executing "" at <.State.Foo>: can't evaluate field Foo in type *container.State"#),
    ("{{.State.Health.Foo}}", r#"template: :1:8: executing "" at <.State.Health.Foo>: can't evaluate field Foo in type *container.Health"#),
    ("{{.RestartCount.Foo}}", r#"template: :1:15: executing "" at <.RestartCount.Foo>: can't evaluate field Foo in type int"#),
    ("{{range .Config.Env}}{{.Foo}}{{end}}", r#"template: :1:23: executing "" at <.Foo>: can't evaluate field Foo in type string"#),
    ("{{range .Mounts}}{{.Foo}}{{end}}", r#"template: :1:19: executing "" at <.Foo>: can't evaluate field Foo in type container.MountPoint"#),
    ("{{.Config.Labels.app.foo}}", r#"template: :1:9: executing "" at <.Config.Labels.app.foo>: can't evaluate field foo in type string"#),
    (r#"{{index .State "a"}}"#, r#"template: :1:2: executing "" at <index .State "a">: error calling index: can't index item of type container.State"#),
    ("{{index .Config.Nope 1}}", r#"template: :1:15: executing "" at <.Config.Nope>: can't evaluate field Nope in type *container.Config"#),
    ("{{len .State}} ", r#"template: :1:2: executing "" at <len .State>: error calling len: len of type container.State"#),
    ("{{len .Config.Healthcheck}}", r#"template: :1:2: executing "" at <len .Config.Healthcheck>: error calling len: len of type v1.HealthcheckConfig"#),
    (r#"{{html 1 2 "x"}} {{html .Nope}}"#, r#"template: :1:24: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{eq .Config.Env .Config.Env}}", r#"template: :1:2: executing "" at <eq .Config.Env .Config.Env>: error calling eq: non-comparable type [A=1 PATH=/usr/bin:/bin]: []string"#),
    ("{{eq .State .Name}}", r#"template: :1:2: executing "" at <eq .State .Name>: error calling eq: incompatible types for comparison: *container.State and string"#),
    ("{{gt .RestartCount 0}} {{.Id}}", r#"template: :1:25: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    ("{{and .Name .Nope}}", r#"template: :1:12: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{upper .RestartCount}}", r#"template: :1:8: executing "" at <.RestartCount>: wrong type for value; expected string; got int"#),
    ("{{upper .Nope}}", r#"template: :1:8: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{upper .Config.Labels.nope}}", r#"template: :1:15: executing "" at <.Config.Labels.nope>: invalid value; expected string"#),
    (r#"{{join .Args "-"}} {{.Id}}"#, r#"template: :1:21: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    ("{{json .Nope}}", r#"template: :1:7: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    (r#"{{printf "%d %s"  .RestartCount .Id}}"#, r#"template: :1:32: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    ("{{.Name 1}}", r#"template: :1:2: executing "" at <.Name>: Name has arguments but cannot be invoked as function"#),
    ("{{. | len}}", r#"template: :1:6: executing "" at <len>: error calling len: len of type container.InspectResponse"#),
    ("{{.Name | .Name}}", r#"template: :1:10: executing "" at <.Name>: Name has arguments but cannot be invoked as function"#),
    ("b {{.Nope}}", r#"template: :1:4: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{if .Nope}}x{{end}}", r#"template: :1:5: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{.é}}", r#"template: :1:2: executing "" at <.é>: can't evaluate field é in type container.InspectResponse"#),
    (r#"{{if (index .Config.Labels "nope")}}there{{else}}absent{{end}} {{.Id}}"#, r#"template: :1:65: executing "" at <.Id>: can't evaluate field Id in type container.InspectResponse"#),
    ("{{.Config.Env.Foo}}", r#"template: :1:9: executing "" at <.Config.Env.Foo>: can't evaluate field Foo in type []string"#),
    ("{{.State.Status.x.y}}", r#"template: :1:8: executing "" at <.State.Status.x.y>: can't evaluate field x in type string"#),
    ("{{with .State}}{{.Status}} {{$.Name}} {{.Nope}}{{end}}", r#"template: :1:40: executing "" at <.Nope>: can't evaluate field Nope in type *container.State"#),
    ("{{ .Source }}:{{ .Destination }}", r#"template: :1:3: executing "" at <.Source>: can't evaluate field Source in type container.InspectResponse"#),
    ("a\nb {{.Nope}}", r#"template: :2:4: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{\n.Nope\n}}", r#"template: :2:0: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("{{/* a\nb */}}\n{{.Nope}}", r#"template: :3:2: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
    ("x\n  {{- .Nope}}", r#"template: :2:6: executing "" at <.Nope>: can't evaluate field Nope in type container.InspectResponse"#),
];

/// Of the image, and what `inspect` prints or why it refuses it.
#[rustfmt::skip]
const IMAGE: &[(&str, &str)] = &[
    ("{{.Os}} {{.Architecture}} {{json .Config.Cmd}} {{json .Config.Env}}", r#"linux amd64 ["nginx"] ["PATH=/bin"]"#),
    ("{{len .RootFS.Layers}} {{.RootFS.Type}}", "2 layers"),
    ("{{.RepoTags}} {{.RepoDigests}}", "[nginx:latest] [nginx@sha256:aa]"),
    ("{{.ID}}", "sha256:08b152afcfae220e9709f00767054b824361c742ea03a9fe936271ba520a0a4b"),
    ("{{.Id}}", "sha256:08b152afcfae220e9709f00767054b824361c742ea03a9fe936271ba520a0a4b"),
    ("{{json .Config}}", r#"{"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],"Entrypoint":["/e.sh"],"Cmd":["nginx"],"Labels":{"m":"n"},"StopSignal":"SIGQUIT"}"#),
    ("{{.Config.Labels}} {{.Config.ExposedPorts}} {{.Config.StopSignal}} {{.Config.Volumes}} {{.Config.Entrypoint}} {{.Config.WorkingDir}} {{.Config.User}}", "map[m:n] map[80/tcp:{}] SIGQUIT map[] [/e.sh]  "),
    ("{{json .Config.Volumes}} {{json .Config.OnBuild}} {{.Config.OnBuild}} {{.Config.Healthcheck}} {{json .Config.Shell}}", "null null [] <nil> null"),
    ("{{.Config.Hostname}}", r#"template parsing error: template: :1:9: executing "" at <.Config.Hostname>: map has no entry for key "Hostname""#),
    ("{{.Created}} {{.Size}} {{.Author}} {{.Parent}} {{.Comment}}", "2025-11-20T10:11:12Z 133000000 me  "),
    ("{{.Metadata.LastTagTime}} ", "0001-01-01 00:00:00 +0000 UTC "),
    ("{{json .RootFS}} {{json .GraphDriver}} {{json .Metadata}}", r#"{"Type":"layers","Layers":["sha256:l1","sha256:l2"]} {"Data":{"UpperDir":"/u"},"Name":"overlay2"} {"LastTagTime":"0001-01-01T00:00:00Z"}"#),
    ("{{.RootFS}}", "{layers [sha256:l1 sha256:l2]}"),
    ("{{range .RootFS.Layers}}{{.}} {{end}}", "sha256:l1 sha256:l2 "),
    ("{{index .RepoTags 0}} {{index .RepoDigests 0}}", "nginx:latest nginx@sha256:aa"),
];

fn container() -> Value {
    let document: docker::inspect::ContainerInspect = serde_json::from_str(CONTAINER).unwrap();
    to_value(&document).unwrap()
}

fn inspect(text: &str, data: &Value) -> String {
    match Template::parse(text).and_then(|template| template.inspect(data)) {
        Ok(out) => out,
        Err(error) => format!("template parsing error: {error}"),
    }
}

#[test]
fn valid_templates_print_what_docker_prints() {
    let data = container();
    for (text, want) in VALID {
        assert_eq!(&inspect(text, &data), want, "{text}");
    }
}

#[test]
fn wrong_templates_are_refused_with_docker_texts() {
    let data = container();
    for (text, want) in WRONG {
        let want = format!("template parsing error: template: {want}");
        assert_eq!(inspect(text, &data), want, "{text}");
    }
}

#[test]
fn typed_documents_are_refused_with_gos_texts() {
    let data = container();
    for (text, want) in TYPED {
        let result = Template::parse(text).and_then(|template| template.execute(&data));
        assert_eq!(result, Err(Error::Execute((*want).to_owned())), "{text}");
    }
}

#[test]
fn images_print_what_docker_prints() {
    let document: docker::image::ImageInspect = serde_json::from_str(IMAGE_DOCUMENT).unwrap();
    let data = to_value(&document).unwrap();
    for (text, want) in IMAGE {
        assert_eq!(&inspect(text, &data), want, "{text}");
    }
}

#[test]
fn parse_and_execution_errors_differ() {
    let data = container();
    assert!(matches!(Template::parse("{{.Nope"), Err(Error::Parse(_))));
    let template = Template::parse("{{.Nope}}").unwrap();
    assert!(matches!(template.inspect(&data), Err(Error::Execute(_))));
}

#[test]
fn deliberate_differences() {
    let data = container();
    for (text, want) in [
        (
            "{{.ID}} {{.Id}}",
            "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2 4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2",
        ),
        (
            "{{.State.Health.Log}}",
            "[{2025-11-20 10:11:14.5 +0000 UTC 2025-11-20 10:11:14.6 +0200 +0200 0 ok\n}]",
        ),
        (
            "{{1i}}",
            r#"template parsing error: template: :1: imaginary numbers are not supported: "1i""#,
        ),
        (
            "{{range 99999999999}}{{end}}",
            "template parsing error: template: :1:8: executing \"\" at <99999999999>: can't range over more than 10000000 numbers",
        ),
    ] {
        assert_eq!(inspect(text, &data), want, "{text}");
    }
}

#[test]
fn depth_is_limited() {
    let data = container();
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(inspect(&parens, &data).ends_with("max expression depth exceeded"));
    let ifs = "{{if 1}}".repeat(5000);
    assert!(inspect(&ifs, &data).ends_with("max expression depth exceeded"));
    let calls = r#"{{define "r"}}{{template "r" .}}{{end}}{{template "r" .}}"#;
    assert!(inspect(calls, &data).ends_with("exceeded maximum template depth (200)"));
}

#[test]
fn used_fields_are_found() {
    for (text, uses) in [
        ("{{.Size}}", true),
        ("{{.Names}}", false),
        ("{{json .}}", true),
        ("{{if .Names}}{{$.Size}}{{end}}", true),
        ("{{with $x := .Size}}{{end}}", true),
        ("{{upper (lower .Size)}}", true),
        ("plain", false),
    ] {
        assert_eq!(Template::parse(text).unwrap().uses("Size"), uses, "{text}");
    }
}

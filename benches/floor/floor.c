/* What the kernel alone needs: the system calls that a container cannot do without, and nothing else.
 *
 *   floor start ROOT WORK [BRIDGE]   a container of ROOT that runs true and is gone: namespaces, cgroups, overlay, /proc and
 *                                    /dev, masks, a seccomp filter; with BRIDGE also a link to it, an address and a route
 *   floor bundle ROOT [filter]       the same as a runtime has it: ROOT itself, read-only, with the view of its cgroups; a filter
 *                                    only if that is said
 *   floor exec PID                   true in the namespaces and cgroups of PID
 *   floor list FOLDER                every file of FOLDER is read
 *   floor copy FROM TO               the bytes of a file, moved by the kernel
 *   floor lines FILE                 what comes by stdin goes to FILE
 *
 * The v1 hierarchies are joined by the child itself, which waits for no grace period of RCU, unlike the pid in cgroup.procs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
/* As many as docker's profile has. */
#define FILTER 330

static void fail(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static int opened(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0644);
  if (fd < 0) fail(path);
  return fd;
}

static void put(const char *path, const char *text, size_t size) {
  int fd = opened(path, O_WRONLY);
  if (write(fd, text, size) != (ssize_t)size) fail(path);
  close(fd);
}

static void on(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
  if (mount(source, target, type, flags, data)) fail(target);
}

/* ---- cgroups ---- */

/* Calls `visit` with each v1 hierarchy; a link names one that comes by its own name as well. */
static void hierarchies(void (*visit)(const char *hierarchy)) {
  char path[512];
  DIR *all = opendir(CGROUPS);
  if (!all) fail(CGROUPS);
  for (struct dirent *one; (one = readdir(all));) {
    snprintf(path, sizeof path, CGROUPS "/%s/tasks", one->d_name);
    if (one->d_type != DT_DIR || one->d_name[0] == '.' || access(path, F_OK)) continue;
    visit(one->d_name);
  }
  closedir(all);
}

static char group[64];

static void make_group(const char *hierarchy) {
  char path[512], of[600], value[4096];
  snprintf(path, sizeof path, CGROUPS "/%s/%s", hierarchy, group);
  if (mkdir(path, 0755)) fail(path);
  if (!strstr(hierarchy, "cpuset")) return;
  /* Nothing may join before it has processors and memory. */
  static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
  for (int i = 0; i < 2; i++) {
    snprintf(of, sizeof of, CGROUPS "/%s/%s", hierarchy, files[i]);
    int fd = opened(of, O_RDONLY);
    ssize_t size = read(fd, value, sizeof value);
    close(fd);
    snprintf(of, sizeof of, "%s/%s", path, files[i]);
    if (size > 0) put(of, value, size);
  }
}

static void join_group(const char *hierarchy) {
  char path[512];
  snprintf(path, sizeof path, CGROUPS "/%s/%s/tasks", hierarchy, group);
  put(path, "0", 1);
}

static void remove_group(const char *hierarchy) {
  char path[512];
  snprintf(path, sizeof path, CGROUPS "/%s/%s", hierarchy, group);
  if (rmdir(path)) fail(path);
}

/* ---- netlink ---- */

static char messages[4096];
static size_t used;
static int count;

static struct nlmsghdr *begin(int type, int flags, const void *body, size_t size) {
  struct nlmsghdr *message = (void *)(messages + used);
  message->nlmsg_type = type;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  message->nlmsg_len = NLMSG_LENGTH(size);
  memcpy(NLMSG_DATA(message), body, size);
  return message;
}

static struct rtattr *attribute(struct nlmsghdr *message, int type, const void *data, size_t size) {
  struct rtattr *it = (void *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));
  it->rta_type = type;
  it->rta_len = RTA_LENGTH(size);
  if (size) memcpy(RTA_DATA(it), data, size);
  message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(it->rta_len);
  return it;
}

static void end(struct nlmsghdr *message, struct rtattr *nest) {
  nest->rta_len = (char *)message + NLMSG_ALIGN(message->nlmsg_len) - (char *)nest;
}

static void push(struct nlmsghdr *message) {
  used += NLMSG_ALIGN(message->nlmsg_len);
  count++;
}

/* Sends all that was pushed by one call, and waits for an answer to each. */
static void flush(void) {
  char answers[4096];
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0 || send(fd, messages, used, 0) < 0) fail("netlink");
  while (count > 0) {
    int size = recv(fd, answers, sizeof answers, 0);
    if (size < 0) fail("netlink");
    for (struct nlmsghdr *it = (void *)answers; NLMSG_OK(it, size); it = NLMSG_NEXT(it, size), count--) {
      int error = it->nlmsg_type == NLMSG_ERROR ? ((struct nlmsgerr *)NLMSG_DATA(it))->error : 0;
      if (error) { errno = -error; fail("netlink"); }
    }
  }
  close(fd);
  used = 0;
  memset(messages, 0, sizeof messages);
}

static void make_link(int bridge, int pid) {
  struct ifinfomsg link = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP }, peer = { 0 };
  char name[IFNAMSIZ];
  snprintf(name, sizeof name, "floor%d", getpid() % 100000);
  struct nlmsghdr *message = begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  attribute(message, IFLA_IFNAME, name, strlen(name) + 1);
  attribute(message, IFLA_MASTER, &bridge, sizeof bridge);
  struct rtattr *info = attribute(message, IFLA_LINKINFO, 0, 0);
  attribute(message, IFLA_INFO_KIND, "veth", 4);
  struct rtattr *data = attribute(message, IFLA_INFO_DATA, 0, 0);
  struct rtattr *other = attribute(message, VETH_INFO_PEER, &peer, sizeof peer);
  attribute(message, IFLA_IFNAME, "eth0", 5);
  attribute(message, IFLA_NET_NS_PID, &pid, sizeof pid);
  end(message, other);
  end(message, data);
  end(message, info);
  push(message);
  flush();
}

static void set_link_up(int index) {
  struct ifinfomsg link = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
  push(begin(RTM_NEWLINK, 0, &link, sizeof link));
}

static void bring_network_up(void) {
  int index = if_nametoindex("eth0");
  uint32_t own = htonl(0x0a640002), gateway = htonl(0x0a640001);
  set_link_up(1);
  set_link_up(index);
  struct ifaddrmsg address = { .ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = index };
  struct nlmsghdr *message = begin(RTM_NEWADDR, NLM_F_CREATE, &address, sizeof address);
  attribute(message, IFA_LOCAL, &own, sizeof own);
  attribute(message, IFA_ADDRESS, &own, sizeof own);
  push(message);
  struct rtmsg route = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                         .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
  message = begin(RTM_NEWROUTE, NLM_F_CREATE, &route, sizeof route);
  attribute(message, RTA_GATEWAY, &gateway, sizeof gateway);
  push(message);
  flush();
}

/* ---- a container ---- */

static void filter(void) {
  static struct sock_filter code[FILTER + 4];
  int size = 0;
  code[size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (; size < FILTER; size += 2) {
    code[size] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000 + size, 0, 1);
    code[size + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  }
  code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = { .len = size, .filter = code };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) fail("seccomp");
}

static void devices(void) {
  static const struct { const char *name; int major, minor; } nodes[] = {
    { "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 }, { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
  };
  static const char *const links[][2] = {
    { "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
    { "/proc/self/fd/2", "dev/stderr" }, { "pts/ptmx", "dev/ptmx" },
  };
  mkdir("dev", 0755);
  on("tmpfs", "dev", "tmpfs", MS_NOSUID, "size=65536k,mode=755");
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
    if (mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor))) fail(nodes[i].name);
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlink(links[i][0], links[i][1])) fail(links[i][1]);
  mkdir("dev/pts", 0755);
  mkdir("dev/shm", 0755);
  mkdir("dev/mqueue", 0755);
  on("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
  on("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=65536k");
  on("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
}

static void masks(void) {
  static const char *const read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
  static const char *const hidden[] = { "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/interrupts",
                                        "/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap" };
  unsigned long again = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++)
    if (!mount(read_only[i], read_only[i], 0, MS_BIND | MS_REC, 0)) on(0, read_only[i], 0, again, 0);
  for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
    if (mount("/dev/null", hidden[i], 0, MS_BIND, 0) && errno == ENOTDIR)
      on("tmpfs", hidden[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1");
}

static void run_true(void) {
  char *const arguments[] = { "true", 0 }, *const environment[] = { "PATH=/bin:/usr/bin", 0 };
  execve("/bin/true", arguments, environment);
  fail("/bin/true");
}

/* What a container sees of its cgroups: a directory for each hierarchy. */
static void view(const char *hierarchy) {
  char path[4096];
  snprintf(path, sizeof path, "sys/fs/cgroup/%s", hierarchy);
  if (mkdir(path, 0755)) fail(path);
  const char *options = strcmp(hierarchy, "systemd") ? hierarchy : "none,name=systemd";
  on("cgroup", path, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, options);
}

/* Mounts the root filesystem, writable in WORK or read-only without, and goes there. */
static void enter_root(const char *root, const char *work) {
  char path[4096], options[8192];
  snprintf(path, sizeof path, work ? "%s/merged" : "%s", work ? work : root);
  if (work) {
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,volatile", root, work, work);
    on("overlay", path, "overlay", 0, options);
  } else {
    on(root, root, 0, MS_BIND | MS_REC, 0);
  }
  if (chdir(path)) fail(path);
}

/* In the new namespaces; `ready` ends once there is a link, if there is to be one. */
static void contained(const char *root, const char *work, int ready, int filtered) {
  char byte;
  hierarchies(join_group);
  if (ready >= 0) {
    if (read(ready, &byte, 1) != 0) fail("wait for the link");
    bring_network_up();
  }
  on(0, "/", 0, MS_REC | MS_PRIVATE, 0);
  enter_root(root, work);
  umask(0);
  mkdir("proc", 0755);
  mkdir("sys", 0755);
  on("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
  devices();
  on("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, 0);
  if (!work) {
    on("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755");
    hierarchies(view);
  }
  if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/")) fail("pivot_root");
  masks();
  if (!work) on(0, "/", 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0);
  if (sethostname("floor", 5)) fail("sethostname");
  if (filtered) filter();
  run_true();
}

static void wait_for(int pid) {
  int status;
  if (waitpid(pid, &status, 0) != pid || status) fail("the program");
}

/* A container from its cgroups to their end. */
static void contain(const char *root, const char *work, const char *bridge, int filtered) {
  char path[4096];
  int link[2] = { -1, -1 }, is_v2 = !access(CGROUPS "/cgroup.controllers", F_OK);
  snprintf(group, sizeof group, "floor%d", getpid());
  hierarchies(make_group);
  struct clone_args how = { .exit_signal = SIGCHLD };
  how.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWNET;
  snprintf(path, sizeof path, CGROUPS "/%s", group);
  if (is_v2) {
    if (mkdir(path, 0755)) fail(path);
    how.cgroup = opened(path, O_PATH);
    how.flags |= CLONE_INTO_CGROUP;
  }
  if (bridge && pipe2(link, O_CLOEXEC)) fail("pipe");
  int pid = syscall(SYS_clone3, &how, sizeof how);
  if (pid < 0) fail("clone3");
  if (pid == 0) {
    close(link[1]);
    contained(root, work, link[0], filtered);
  }
  if (bridge) {
    make_link(if_nametoindex(bridge), pid);
    close(link[1]);
  }
  wait_for(pid);
  hierarchies(remove_group);
  if (is_v2 && rmdir(path)) fail(path);
}

static const char *const parts[] = { "upper", "work", "merged" };

static void start(const char *root, const char *work, const char *bridge) {
  char path[4096];
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    snprintf(path, sizeof path, "%s/%s", work, parts[i]);
    if (mkdir(path, 0755)) fail(path);
  }
  contain(root, work, bridge, 1);
  /* What the program and the overlay have made. */
  static const char *const made[] = { "upper/proc", "upper/sys", "upper/dev", "work/work/incompat/volatile/dirty",
                                      "work/work/incompat/volatile", "work/work/incompat",
                                      "work/work", "upper", "work", "merged" };
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    snprintf(path, sizeof path, "%s/%s", work, made[i]);
    if (remove(path) && errno != ENOENT) fail(path);
  }
}

/* ---- others ---- */

/* Joins the cgroups that /proc names; the hierarchies are mounted by the names of their controllers. */
static void join_all(const char *pid) {
  char path[8192], line[4096];
  snprintf(path, sizeof path, "/proc/%s/cgroup", pid);
  FILE *all = fopen(path, "re");
  if (!all) fail(path);
  while (fgets(line, sizeof line, all)) {
    line[strcspn(line, "\n")] = 0;
    char *names = strchr(line, ':') + 1, *place = strchr(names, ':') + 1;
    place[-1] = 0;
    if (!strncmp(names, "name=", 5)) names += 5;
    snprintf(path, sizeof path, CGROUPS "/%s%s/tasks", names, place);
    if (!*names) snprintf(path, sizeof path, CGROUPS "%s/cgroup.procs", place);
    if (!access(path, F_OK)) put(path, "0", 1);
  }
  fclose(all);
}

static void enter(const char *pid) {
  int target = syscall(SYS_pidfd_open, atoi(pid), 0);
  if (target < 0) fail("pidfd_open");
  int child = fork();
  if (child == 0) {
    join_all(pid);
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWNET;
    if (setns(target, flags)) fail("setns");
    /* A pid namespace has the children only. */
    int inner = vfork();
    if (inner == 0) {
      filter();
      run_true();
    }
    wait_for(inner);
    _exit(0);
  }
  wait_for(child);
}

static void list(const char *folder) {
  char bytes[65536];
  DIR *all = opendir(folder);
  if (!all || chdir(folder)) fail(folder);
  for (struct dirent *one; (one = readdir(all));) {
    if (one->d_type != DT_REG) continue;
    int fd = opened(one->d_name, O_RDONLY);
    while (read(fd, bytes, sizeof bytes) > 0) {}
    close(fd);
  }
}

static void copy(const char *from, const char *to) {
  int source = opened(from, O_RDONLY), target = opened(to, O_WRONLY | O_CREAT | O_TRUNC);
  ssize_t size;
  while ((size = copy_file_range(source, 0, target, 0, 1 << 30, 0)) > 0) {}
  if (size < 0) fail(to);
}

static void lines(const char *to) {
  static char bytes[1 << 16];
  int target = opened(to, O_WRONLY | O_CREAT | O_TRUNC);
  ssize_t size;
  while ((size = read(0, bytes, sizeof bytes)) > 0)
    if (write(target, bytes, size) != size) fail(to);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "start") && argc >= 4) start(argv[2], argv[3], argc > 4 ? argv[4] : 0);
  else if (!strcmp(what, "bundle") && argc >= 3) contain(argv[2], 0, 0, argc > 3);
  else if (!strcmp(what, "exec") && argc == 3) enter(argv[2]);
  else if (!strcmp(what, "list") && argc == 3) list(argv[2]);
  else if (!strcmp(what, "copy") && argc == 4) copy(argv[2], argv[3]);
  else if (!strcmp(what, "lines") && argc == 3) lines(argv[2]);
  else return 2;
  return 0;
}

/*
 * An HTTP/1.1 load generator: one thread, epoll, plain TCP over IPv4 loopback.
 *
 * Closed loop: each of N connections sends its next request when the answer to the last one is complete.
 * Open loop (--rate): request j is due at start + j / rate on connection j mod N, whether or not earlier ones have been
 * answered, and its latency counts from when it was due, so that a stall shows in every request that waited.
 *
 * Prints one JSON object. Anything but a complete answer "200" with a Content-Length is an error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "result.h"

enum {
  connections_max = 20000,
  head_bytes_max = 16384,
  request_bytes_max = 4 * 1024 * 1024,
  read_bytes = 256 * 1024,
  events_max = 512,
};

#define CONNECT_NANOS (10 * NANOS)

struct options {
  struct sockaddr_in address;
  const char *host;
  const char *path;
  int connections;
  double seconds;
  double warmup_seconds;
  double rate;
  double late_seconds; /* requests that have no answer so long after the end are errors */
  long body_bytes;
  long expected_bytes;
  bool new_connections;
  unsigned hold_seconds;
};

enum state { closed, connecting, idle, waiting_head, waiting_body, waiting_end };

struct connection {
  int fd;
  enum state state;
  size_t sent;
  int64_t body_left;
  int64_t due;      /* of the request in flight */
  int64_t sequence; /* open loop: how many requests of this connection have been started */
  size_t head_bytes;
  char head[1024];
};

static struct options options = {.path = "/", .connections = 1, .seconds = 1, .late_seconds = 5, .expected_bytes = -1};
static struct connection *connections;
static char *request;
static size_t request_bytes;
static int poller, timer;
static int64_t start, measured_from, end, late;
static int64_t next_request; /* open loop: the next one to fall due */

static void watch(struct connection *c, uint32_t events, int operation) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(poller, operation, c->fd, &event) != 0) die("epoll_ctl");
}

static void shut(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->state = closed;
}

static void begin_connecting(struct connection *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->state = connecting;
  if (connect(c->fd, (struct sockaddr *)&options.address, sizeof options.address) != 0 && errno != EINPROGRESS)
    die("connect");
  watch(c, EPOLLIN | EPOLLOUT | EPOLLRDHUP, EPOLL_CTL_ADD);
}

static void send_request(struct connection *c) {
  while (c->sent < request_bytes) {
    ssize_t count = send(c->fd, request + c->sent, request_bytes - c->sent, MSG_NOSIGNAL);
    if (count > 0) {
      c->sent += (size_t)count;
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      watch(c, EPOLLIN | EPOLLOUT | EPOLLRDHUP, EPOLL_CTL_MOD);
      return;
    }
    note_error("sending: %s", strerror(errno));
    shut(c);
    return;
  }
}

static void begin_request(struct connection *c, int64_t due) {
  c->due = due;
  c->sent = 0;
  c->head_bytes = 0;
  if (c->state == closed) {
    begin_connecting(c);
    return;
  }
  c->state = waiting_head;
  send_request(c);
}

/* Open loop: when the next request of this connection is due. */
static int64_t due_of(const struct connection *c) {
  int64_t number = (c - connections) + c->sequence * options.connections;
  return start + (int64_t)((double)number * (NANOS / options.rate));
}

static bool is_free(const struct connection *c) {
  return c->state == idle || (c->state == closed && options.new_connections);
}

/* What a free connection does next. */
static void go_on(struct connection *c, int64_t time) {
  if (options.rate == 0) {
    if (time < end) begin_request(c, time);
    return;
  }
  int64_t due = due_of(c);
  if (due > time || due >= end) return;
  c->sequence++;
  begin_request(c, due);
}

static void complete(struct connection *c) {
  int64_t time = now();
  completed++;
  /* Closed loop: by when it ended, so that the rate is right; open loop: by when it was due, so that none is left out. */
  bool counts = options.rate == 0 ? time >= measured_from && time < end : c->due >= measured_from;
  if (counts) note_latency(time - c->due);
  if (options.new_connections) {
    /* The server closes, so that the client's port is free again at once. */
    c->state = waiting_end;
    return;
  }
  c->state = idle;
  go_on(c, time);
}

/* Reads a head that is complete (ends with an empty line); the length of its body, or -1 with an error noted. */
static int64_t judge_head(char *head) {
  char *line_end = strstr(head, "\r\n");
  if (strncmp(head, "HTTP/1.1 200", 12) != 0) {
    *line_end = 0;
    note_error("answer: %s", head);
    return -1;
  }
  for (char *line = line_end + 2; *line != '\r'; line = strstr(line, "\r\n") + 2)
    if (strncasecmp(line, "content-length:", 15) == 0) {
      int64_t length = strtoll(line + 15, NULL, 10);
      if (options.expected_bytes >= 0 && length != options.expected_bytes) {
        note_error("%s", "answer of another length");
        return -1;
      }
      return length;
    }
  note_error("%s", "answer without Content-Length");
  return -1;
}

/* Takes bytes of an answer; false when the connection was given up. */
static bool take(struct connection *c, const char *bytes, size_t count) {
  while (count > 0) {
    if (c->state == waiting_body) {
      size_t part = (int64_t)count < c->body_left ? count : (size_t)c->body_left;
      c->body_left -= (int64_t)part;
      bytes += part;
      count -= part;
    } else if (c->state == waiting_head) {
      size_t before = c->head_bytes;
      size_t room = sizeof c->head - 1 - before;
      size_t part = count < room ? count : room;
      memcpy(c->head + before, bytes, part);
      c->head[before + part] = 0;
      c->head_bytes += part;
      char *empty_line = strstr(c->head, "\r\n\r\n");
      if (empty_line == NULL) {
        if (part < count) {
          note_error("%s", "head of an answer too long");
          shut(c);
          return false;
        }
        return true;
      }
      size_t head_bytes = (size_t)(empty_line - c->head) + 4;
      empty_line[3] = 0;
      c->body_left = judge_head(c->head);
      if (c->body_left < 0) {
        shut(c);
        return false;
      }
      bytes += head_bytes - before;
      count -= head_bytes - before;
      c->state = waiting_body;
    } else {
      note_error("%s", "bytes that nobody asked for");
      shut(c);
      return false;
    }
    if (c->state != waiting_body || c->body_left > 0) continue;
    if (count > 0) {
      note_error("%s", "more bytes than the answer has");
      shut(c);
      return false;
    }
    complete(c);
    return c->state != closed;
  }
  return true;
}

static void read_answers(struct connection *c) {
  static char buffer[read_bytes];
  while (c->fd >= 0) {
    ssize_t count = recv(c->fd, buffer, sizeof buffer, 0);
    if (count > 0) {
      bytes_read += count;
      if (!take(c, buffer, (size_t)count) || (size_t)count < sizeof buffer) return;
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    bool is_expected = c->state == waiting_end;
    if (!is_expected) note_error("connection ended: %s", count == 0 ? "by the server" : strerror(errno));
    shut(c);
    /* Otherwise the error is counted and the connection stays away: the round has failed. */
    if (is_expected) go_on(c, now());
    return;
  }
}

static void on_event(struct connection *c, uint32_t events) {
  if (c->fd < 0) return;
  if (c->state == connecting) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      note_error("connecting: %s", strerror(error));
      shut(c);
      return;
    }
    if (!(events & EPOLLOUT)) return;
    watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
    c->state = options.new_connections ? waiting_head : idle;
    if (options.new_connections) send_request(c);
    return;
  }
  if ((events & EPOLLOUT) && c->sent < request_bytes) {
    send_request(c);
    if (c->fd >= 0 && c->sent == request_bytes) watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
  }
  if (c->fd >= 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) read_answers(c);
}

static void arm(int64_t time) {
  struct itimerspec at = {.it_value = {.tv_sec = time / NANOS, .tv_nsec = time % NANOS}};
  if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) != 0) die("timerfd_settime");
}

static void start_what_is_due(int64_t time) {
  for (;;) {
    int64_t due = start + (int64_t)((double)next_request * (NANOS / options.rate));
    if (due > time || due >= end) break;
    struct connection *c = &connections[next_request % options.connections];
    next_request++;
    if (is_free(c)) go_on(c, time);
  }
}

/* When the loop has to wake next, apart from what sockets do. */
static int64_t next_wake(int64_t time) {
  if (options.rate > 0) {
    int64_t due = start + (int64_t)((double)next_request * (NANOS / options.rate));
    if (due < end) return due;
  }
  return time < end ? end : late;
}

/* Requests that were sent, or were due, and have no answer. */
static int64_t count_unanswered(void) {
  int64_t count = 0;
  for (int i = 0; i < options.connections; i++) {
    const struct connection *c = &connections[i];
    count += c->state == connecting || c->state == waiting_head || c->state == waiting_body;
    if (options.rate == 0) continue;
    int64_t left = end - due_of(c);
    double interval = NANOS / options.rate * options.connections;
    if (left > 0) count += 1 + (int64_t)((double)(left - 1) / interval);
  }
  return count;
}

static void wait_once(int64_t until) {
  struct epoll_event events[events_max];
  arm(until);
  int count = epoll_wait(poller, events, events_max, -1);
  if (count < 0 && errno != EINTR) die("epoll_wait");
  for (int i = 0; i < count; i++) {
    if (events[i].data.ptr != NULL) {
      on_event(events[i].data.ptr, events[i].events);
      continue;
    }
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) die("read");
  }
}

static void connect_all(void) {
  int64_t deadline = now() + CONNECT_NANOS;
  for (int i = 0; i < options.connections; i++) begin_connecting(&connections[i]);
  for (;;) {
    int open = 0;
    for (int i = 0; i < options.connections; i++) open += connections[i].state == idle;
    if (open == options.connections || errors > 0) return;
    if (now() > deadline) {
      note_error("%s", "connecting took too long");
      return;
    }
    wait_once(now() + NANOS / 20);
  }
}

static void run(void) {
  start = now();
  measured_from = start + (int64_t)(options.warmup_seconds * (double)NANOS);
  end = measured_from + (int64_t)(options.seconds * (double)NANOS);
  late = end + (int64_t)(options.late_seconds * (double)NANOS);
  if (options.rate == 0)
    for (int i = 0; i < options.connections; i++) go_on(&connections[i], start);
  for (;;) {
    int64_t time = now();
    if (options.rate > 0) start_what_is_due(time);
    if (errors > errors_max) break;
    /* Answers on their way are waited for: to leave now would make a proxy close its connection to the next one. */
    if (time >= end && (count_unanswered() == 0 || time >= late)) break;
    wait_once(next_wake(time));
  }
  unanswered = count_unanswered();
  if (unanswered > 0) note_error("%s", "requests without an answer");
}

static void usage(void) {
  fprintf(stderr, "usage: load --address IP:PORT --host NAME [--path /] [--connections N] [--seconds S] [--warmup S]\n"
                  "            [--rate REQUESTS_PER_SECOND] [--late S] [--body BYTES] [--expect BYTES] [--new-connections]\n"
                  "            [--hold-seconds S]\n"
                  "--hold-seconds keeps the connections open for so long after the result.\n");
  exit(64);
}

static void parse_address(char *text) {
  char *colon = strrchr(text, ':');
  if (colon == NULL) usage();
  *colon = 0;
  options.address.sin_family = AF_INET;
  options.address.sin_port = htons((uint16_t)atoi(colon + 1));
  if (inet_pton(AF_INET, text, &options.address.sin_addr) != 1) usage();
}

static void parse_options(int count, char **arguments) {
  static const struct option known[] = {
      {"address", required_argument, NULL, 'a'}, {"host", required_argument, NULL, 'h'},
      {"path", required_argument, NULL, 'p'},    {"connections", required_argument, NULL, 'c'},
      {"seconds", required_argument, NULL, 's'}, {"warmup", required_argument, NULL, 'w'},
      {"late", required_argument, NULL, 'l'},    {"rate", required_argument, NULL, 'r'},    {"body", required_argument, NULL, 'b'},
      {"expect", required_argument, NULL, 'e'},  {"new-connections", no_argument, NULL, 'n'},
      {"hold-seconds", required_argument, NULL, 'H'}, {NULL, 0, NULL, 0}};
  int letter;
  while ((letter = getopt_long(count, arguments, "", known, NULL)) != -1) switch (letter) {
      case 'a': parse_address(optarg); break;
      case 'h': options.host = optarg; break;
      case 'p': options.path = optarg; break;
      case 'c': options.connections = atoi(optarg); break;
      case 's': options.seconds = atof(optarg); break;
      case 'w': options.warmup_seconds = atof(optarg); break;
      case 'r': options.rate = atof(optarg); break;
      case 'l': options.late_seconds = atof(optarg); break;
      case 'b': options.body_bytes = atol(optarg); break;
      case 'e': options.expected_bytes = atol(optarg); break;
      case 'n': options.new_connections = true; break;
      case 'H': options.hold_seconds = (unsigned)atoi(optarg); break;
      default: usage();
    }
  bool is_sound = options.address.sin_port != 0 && options.host != NULL && options.connections >= 1 &&
                  options.connections <= connections_max && options.seconds > 0 && options.warmup_seconds >= 0 &&
                  options.rate >= 0 && options.late_seconds >= 0 && options.body_bytes >= 0 && options.body_bytes <= request_bytes_max - head_bytes_max;
  if (!is_sound || optind != count) usage();
}

static void build_request(void) {
  request = malloc(request_bytes_max);
  if (request == NULL) die("malloc");
  char length[64] = "";
  if (options.body_bytes > 0)
    snprintf(length, sizeof length, "Content-Type: text/plain\r\nContent-Length: %ld\r\n", options.body_bytes);
  int head = snprintf(request, head_bytes_max, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n%s%s\r\n",
                      options.body_bytes > 0 ? "POST" : "GET", options.path, options.host, length,
                      options.new_connections ? "Connection: close\r\n" : "");
  if (head < 0 || head >= head_bytes_max) usage();
  memset(request + head, 'x', (size_t)options.body_bytes);
  request_bytes = (size_t)head + (size_t)options.body_bytes;
}

int main(int count, char **arguments) {
  parse_options(count, arguments);
  build_request();
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  prctl(PR_SET_TIMERSLACK, 1L);
  connections = calloc((size_t)options.connections, sizeof *connections);
  if (connections == NULL) die("calloc");
  for (int i = 0; i < options.connections; i++) connections[i].fd = -1;
  poller = epoll_create1(EPOLL_CLOEXEC);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (poller < 0 || timer < 0) die("epoll_create1, timerfd_create");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event) != 0) die("epoll_ctl");

  if (!options.new_connections) connect_all();
  if (errors == 0) run();
  print_result(options.seconds);
  sleep(options.hold_seconds);
  return 0;
}

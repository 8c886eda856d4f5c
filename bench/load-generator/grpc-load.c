/*
 * A load generator for unary gRPC over cleartext HTTP/2 with prior knowledge: one thread, epoll, nghttp2 for the wire.
 *
 * Closed loop: each of N connections has M calls in flight and begins the next one when an answer is complete. What is
 * sent in one turn of the loop goes out in one write.
 *
 * Prints one JSON object. Anything but HTTP status 200, a message of the expected length and the trailer "grpc-status: 0"
 * is an error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "result.h"

enum {
  connections_max = 1000,
  streams_max = 1000,
  message_bytes_max = 1024 * 1024,
  prefix_bytes = 5, /* of a message: a byte that says whether it is compressed, and four of its length */
  window_bytes = 16 * 1024 * 1024,
  read_bytes = 256 * 1024,
  events_max = 64,
  value_chars = 64,
};

struct options {
  struct sockaddr_in address;
  const char *host;
  const char *path;
  int connections;
  int streams;
  double seconds;
  double warmup_seconds;
  double late_seconds; /* calls that have no answer so long after the end are errors */
  long body_bytes;
  long expected_bytes;
};

struct connection {
  int fd;
  nghttp2_session *session;
  uint8_t *out; /* what could not be sent yet */
  size_t out_bytes, out_room;
  bool has_read, waits_for_room;
};

struct call {
  struct connection *connection;
  int64_t begun;
  int64_t answer_bytes;
  size_t sent;
  char http_status[value_chars], grpc_status[value_chars];
};

static struct options options = {
    .path = "/", .connections = 1, .streams = 1, .seconds = 1, .late_seconds = 5, .expected_bytes = -1};
static struct connection *connections;
static struct call *calls;
static uint8_t *message;
static size_t message_bytes;
static int poller;
static int64_t in_flight;
static int64_t start, measured_from, end, late;

static void shut(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

static ssize_t read_message(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length, uint32_t *flags,
                            nghttp2_data_source *source, void *user) {
  (void)session, (void)stream, (void)user;
  struct call *call = source->ptr;
  size_t part = message_bytes - call->sent;
  if (part > length) part = length;
  memcpy(buffer, message + call->sent, part);
  call->sent += part;
  if (call->sent == message_bytes) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)part;
}

static nghttp2_nv field(const char *name, const char *value) {
  return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                      NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void begin_call(struct call *call) {
  nghttp2_nv head[] = {
      field(":method", "POST"),      field(":scheme", "http"), field(":path", options.path),
      field(":authority", options.host), field("te", "trailers"),  field("content-type", "application/grpc"),
      field("user-agent", "grpc-load"),  field("grpc-accept-encoding", "identity"),
  };
  nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_message};
  call->begun = now();
  call->answer_bytes = 0;
  call->sent = 0;
  call->http_status[0] = call->grpc_status[0] = 0;
  int32_t stream = nghttp2_submit_request(call->connection->session, NULL, head, sizeof head / sizeof *head, &body, call);
  if (stream < 0) {
    note_error("beginning a call: %s", nghttp2_strerror(stream));
    return;
  }
  in_flight++;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *user) {
  (void)flags, (void)user;
  struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (call == NULL) return 0;
  char *kept = NULL;
  if (name_bytes == 7 && memcmp(name, ":status", 7) == 0) kept = call->http_status;
  if (name_bytes == 11 && memcmp(name, "grpc-status", 11) == 0) kept = call->grpc_status;
  if (kept != NULL) snprintf(kept, value_chars, "%.*s", (int)value_bytes, (const char *)value);
  return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t length,
                   void *user) {
  (void)flags, (void)data, (void)user;
  struct call *call = nghttp2_session_get_stream_user_data(session, stream);
  if (call != NULL) call->answer_bytes += (int64_t)length;
  return 0;
}

/* Whether a call ended as it should; notes what was wrong otherwise. */
static bool is_good(const struct call *call, uint32_t code) {
  if (code != NGHTTP2_NO_ERROR)
    note_error("stream reset: %s", nghttp2_http2_strerror(code));
  else if (strcmp(call->http_status, "200") != 0)
    note_error("HTTP status: %s", call->http_status);
  else if (strcmp(call->grpc_status, "0") != 0)
    note_error("grpc-status: %s", call->grpc_status[0] == 0 ? "none" : call->grpc_status);
  else if (options.expected_bytes >= 0 && call->answer_bytes != options.expected_bytes + prefix_bytes)
    note_error("%s", "answer of another length");
  else
    return true;
  return false;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user) {
  (void)user;
  struct call *call = nghttp2_session_get_stream_user_data(session, stream);
  if (call == NULL) return 0;
  in_flight--;
  int64_t time = now();
  if (is_good(call, code)) {
    completed++;
    /* By when it ended, so that the rate is right. */
    if (time >= measured_from && time < end) note_latency(time - call->begun);
  } else if (errors > errors_max)
    return 0;
  if (time < end) begin_call(call);
  return 0;
}

static void watch(struct connection *c, bool waits_for_room) {
  c->waits_for_room = waits_for_room;
  struct epoll_event event = {.events = EPOLLIN | (waits_for_room ? EPOLLOUT : 0u), .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event) != 0) die("epoll_ctl");
}

/* Everything that the session has to say, in as few writes as the socket takes. */
static void send_all(struct connection *c) {
  for (;;) {
    const uint8_t *bytes;
    ssize_t count = nghttp2_session_mem_send(c->session, &bytes);
    if (count < 0) {
      note_error("sending: %s", nghttp2_strerror((int)count));
      shut(c);
      return;
    }
    if (count == 0) break;
    if (c->out_bytes + (size_t)count > c->out_room) {
      c->out_room = (c->out_bytes + (size_t)count) * 2;
      c->out = realloc(c->out, c->out_room);
      if (c->out == NULL) die("realloc");
    }
    memcpy(c->out + c->out_bytes, bytes, (size_t)count);
    c->out_bytes += (size_t)count;
  }
  if (c->out_bytes == 0) return;
  ssize_t sent = send(c->fd, c->out, c->out_bytes, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    note_error("sending: %s", strerror(errno));
    shut(c);
    return;
  }
  if (sent > 0) {
    c->out_bytes -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_bytes);
  }
  if (c->waits_for_room != (c->out_bytes > 0)) watch(c, c->out_bytes > 0);
}

static void read_answers(struct connection *c) {
  static uint8_t buffer[read_bytes];
  ssize_t count = recv(c->fd, buffer, sizeof buffer, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    note_error("connection ended: %s", count == 0 ? "by the server" : strerror(errno));
    shut(c);
    return;
  }
  bytes_read += count;
  if (!c->has_read && count >= 5 && memcmp(buffer, "HTTP/", 5) == 0) {
    note_error("%s", "the server speaks HTTP/1");
    shut(c);
    return;
  }
  c->has_read = true;
  ssize_t taken = nghttp2_session_mem_recv(c->session, buffer, (size_t)count);
  if (taken < 0) {
    note_error("reading: %s", nghttp2_strerror((int)taken));
    shut(c);
  }
}

static void open_connection(struct connection *c, const nghttp2_session_callbacks *callbacks) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket");
  if (connect(c->fd, (struct sockaddr *)&options.address, sizeof options.address) != 0) {
    note_error("connecting: %s", strerror(errno));
    shut(c);
    return;
  }
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) die("fcntl");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0) die("epoll_ctl");
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_bytes}};
  if (nghttp2_session_client_new(&c->session, callbacks, c) != 0 ||
      nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2) != 0 ||
      nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, window_bytes) != 0)
    die("nghttp2_session_client_new");
}

static void open_all(void) {
  nghttp2_session_callbacks *callbacks;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) die("nghttp2_session_callbacks_new");
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  for (int i = 0; i < options.connections; i++) open_connection(&connections[i], callbacks);
}

static void run(void) {
  start = now();
  measured_from = start + (int64_t)(options.warmup_seconds * (double)NANOS);
  end = measured_from + (int64_t)(options.seconds * (double)NANOS);
  late = end + (int64_t)(options.late_seconds * (double)NANOS);
  for (int i = 0; i < options.connections * options.streams; i++) begin_call(&calls[i]);
  for (int i = 0; i < options.connections; i++) send_all(&connections[i]);
  for (;;) {
    int64_t time = now();
    bool is_over = time >= end && (in_flight == 0 || time >= late);
    bool is_lost = errors > errors_max;
    for (int i = 0; i < options.connections; i++) is_lost |= connections[i].fd < 0;
    if (is_over || is_lost) break;
    struct epoll_event events[events_max];
    int64_t left = (time < end ? end : late) - time;
    int count = epoll_wait(poller, events, events_max, (int)(left / 1000000) + 1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_answers(c);
      if (c->fd >= 0) send_all(c);
    }
  }
  unanswered = in_flight;
  if (unanswered > 0 && errors == 0) note_error("%s", "requests without an answer");
}

static void usage(void) {
  fprintf(stderr, "usage: grpc-load --address IP:PORT --host NAME --path /SERVICE/METHOD [--connections N] [--streams N]\n"
                  "                 [--seconds S] [--warmup S] [--late S] [--body BYTES] [--expect BYTES]\n"
                  "--body and --expect are lengths of messages without their prefix.\n");
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
  static const struct option known[] = {{"address", required_argument, NULL, 'a'},
                                        {"host", required_argument, NULL, 'h'},
                                        {"path", required_argument, NULL, 'p'},
                                        {"connections", required_argument, NULL, 'c'},
                                        {"streams", required_argument, NULL, 'm'},
                                        {"seconds", required_argument, NULL, 's'},
                                        {"warmup", required_argument, NULL, 'w'},
                                        {"late", required_argument, NULL, 'l'},
                                        {"body", required_argument, NULL, 'b'},
                                        {"expect", required_argument, NULL, 'e'},
                                        {NULL, 0, NULL, 0}};
  int letter;
  while ((letter = getopt_long(count, arguments, "", known, NULL)) != -1) switch (letter) {
      case 'a': parse_address(optarg); break;
      case 'h': options.host = optarg; break;
      case 'p': options.path = optarg; break;
      case 'c': options.connections = atoi(optarg); break;
      case 'm': options.streams = atoi(optarg); break;
      case 's': options.seconds = atof(optarg); break;
      case 'w': options.warmup_seconds = atof(optarg); break;
      case 'l': options.late_seconds = atof(optarg); break;
      case 'b': options.body_bytes = atol(optarg); break;
      case 'e': options.expected_bytes = atol(optarg); break;
      default: usage();
    }
  bool is_sound = options.address.sin_port != 0 && options.host != NULL && options.connections >= 1 &&
                  options.connections <= connections_max && options.streams >= 1 && options.streams <= streams_max &&
                  options.seconds > 0 && options.warmup_seconds >= 0 && options.late_seconds >= 0 &&
                  options.body_bytes >= 0 && options.body_bytes <= message_bytes_max;
  if (!is_sound || optind != count) usage();
}

static void build_message(void) {
  message_bytes = prefix_bytes + (size_t)options.body_bytes;
  message = malloc(message_bytes);
  if (message == NULL) die("malloc");
  uint32_t length = htonl((uint32_t)options.body_bytes);
  message[0] = 0;
  memcpy(message + 1, &length, sizeof length);
  memset(message + prefix_bytes, 'x', (size_t)options.body_bytes);
}

int main(int count, char **arguments) {
  parse_options(count, arguments);
  build_message();
  connections = calloc((size_t)options.connections, sizeof *connections);
  calls = calloc((size_t)options.connections * (size_t)options.streams, sizeof *calls);
  if (connections == NULL || calls == NULL) die("calloc");
  for (int i = 0; i < options.connections * options.streams; i++)
    calls[i].connection = &connections[i % options.connections];
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) die("epoll_create1");
  open_all();
  if (errors == 0) run();
  print_result(options.seconds);
  return 0;
}

/*
 * The application behind the pairs that are measured with gRPC: it answers every unary call with a message of a fixed
 * length and "grpc-status: 0". One thread, epoll, nghttp2 for the wire; cleartext HTTP/2 with prior knowledge.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { prefix_bytes = 5, answer_bytes_max = 8192, read_bytes = 256 * 1024, events_max = 64, window_bytes = 1 << 20 };

struct connection {
  int fd;
  nghttp2_session *session;
  uint8_t *out;
  size_t out_bytes, out_room;
  bool waits_for_room;
};

static uint8_t answer[prefix_bytes + answer_bytes_max];
static size_t answer_bytes;
static int poller;
static nghttp2_session_callbacks *callbacks;

static void die(const char *what) {
  fprintf(stderr, "grpc-answer: %s: %s\n", what, strerror(errno));
  exit(2);
}

#define FIELD(name, value)                                                                                   \
  {(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1,                               \
   NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE}

/* The whole answer at once: it is smaller than any window and any frame. */
static ssize_t read_answer(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length, uint32_t *flags,
                           nghttp2_data_source *source, void *user) {
  (void)source, (void)user;
  if (length < answer_bytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  memcpy(buffer, answer, answer_bytes);
  *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  const nghttp2_nv trailers[] = {FIELD("grpc-status", "0")};
  return nghttp2_submit_trailer(session, stream, trailers, 1) == 0 ? (ssize_t)answer_bytes
                                                                   : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  (void)user;
  bool is_call = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
  if (!is_call || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  const nghttp2_nv head[] = {FIELD(":status", "200"), FIELD("content-type", "application/grpc")};
  nghttp2_data_provider body = {.source.ptr = NULL, .read_callback = read_answer};
  return nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body);
}

static void drop(struct connection *c) {
  nghttp2_session_del(c->session);
  close(c->fd);
  free(c->out);
  free(c);
}

/* False when the connection is gone. */
static bool send_all(struct connection *c) {
  for (;;) {
    const uint8_t *bytes;
    ssize_t count = nghttp2_session_mem_send(c->session, &bytes);
    if (count < 0) return false;
    if (count == 0) break;
    if (c->out_bytes + (size_t)count > c->out_room) {
      c->out_room = (c->out_bytes + (size_t)count) * 2;
      c->out = realloc(c->out, c->out_room);
      if (c->out == NULL) die("realloc");
    }
    memcpy(c->out + c->out_bytes, bytes, (size_t)count);
    c->out_bytes += (size_t)count;
  }
  if (c->out_bytes > 0) {
    ssize_t sent = send(c->fd, c->out, c->out_bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) {
      c->out_bytes -= (size_t)sent;
      memmove(c->out, c->out + sent, c->out_bytes);
    }
  }
  if (c->waits_for_room != (c->out_bytes > 0)) {
    c->waits_for_room = c->out_bytes > 0;
    struct epoll_event event = {.events = EPOLLIN | (c->waits_for_room ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event) != 0) die("epoll_ctl");
  }
  return nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session) || c->out_bytes > 0;
}

static bool read_calls(struct connection *c) {
  static uint8_t buffer[read_bytes];
  ssize_t count = recv(c->fd, buffer, sizeof buffer, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  return count > 0 && nghttp2_session_mem_recv(c->session, buffer, (size_t)count) >= 0;
}

static void take_connection(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct connection *c = calloc(1, sizeof *c);
  if (c == NULL) die("calloc");
  c->fd = fd;
  if (nghttp2_session_server_new(&c->session, callbacks, c) != 0 ||
      nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0) != 0 ||
      nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, window_bytes) != 0)
    die("nghttp2_session_server_new");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  if (!send_all(c)) drop(c);
}

int main(int count, char **arguments) {
  int port = count == 3 ? atoi(arguments[1]) : 0;
  long bytes = count == 3 ? atol(arguments[2]) : -1;
  if (port <= 0 || bytes < 0 || bytes > answer_bytes_max) {
    fprintf(stderr, "usage: grpc-answer PORT BYTES\n");
    return 64;
  }
  answer_bytes = prefix_bytes + (size_t)bytes;
  uint32_t length = htonl((uint32_t)bytes);
  memcpy(answer + 1, &length, sizeof length);
  memset(answer + prefix_bytes, 'x', (size_t)bytes);
  if (nghttp2_session_callbacks_new(&callbacks) != 0) die("nghttp2_session_callbacks_new");
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) die("listen");
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0) die("epoll_ctl");
  for (;;) {
    struct epoll_event events[events_max];
    int ready = epoll_wait(poller, events, events_max, -1);
    if (ready < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      if (c == NULL)
        take_connection(listener);
      else if (!((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || read_calls(c)) || !send_all(c))
        drop(c);
    }
  }
}

/* The door for transports that are not Farspan's: a C ABI, version 1.
 *
 * A shared library that defines `farspan_transport_plugin` is a transport: `farspan bench
 * --transport ./libmine.so` runs collectives over it, `farspan conform ./libmine.so` says whether
 * it keeps the rules below. The wire format is its own. This header stands alone (C99 or C++).
 *
 *   receiver: listen() -> handle, which Farspan takes to the sender; accept() until it is OK
 *   sender:   connect(handle) -> comm; state() until it is OK
 *   both:     post_send / post_recv -> request; test() until it is not AGAIN; close_comm()
 *
 * A comm carries messages one way, from the side that connected to the side that accepted. Message
 * n that was sent fills receive n that was posted; nothing else decides. A receive must be at least
 * as long as its message, and its tag the same: if not, the comm fails on the receiver's side at
 * once and on the sender's when it learns of it. Zero bytes are a message like any other. A send
 * may be done before its receive is posted, if the library keeps a copy, and once it is done the
 * message arrives even if the sender closes. A peer that vanishes or closes fails the comm within
 * farspan_config.timeout_ns.
 *
 * Every function returns at once except progress(). Units: bytes, nanoseconds, bits per second.
 * Threading: one thread makes all calls on one instance; several instances can live in one process,
 * each used by its own thread. No C++ exception may leave the library. Ownership: what the library
 * returns stays its own until the call that ends it; a message's buffer belongs to the library from
 * post until test() is not AGAIN, or until close_comm().
 */
#ifndef FARSPAN_TRANSPORT_H
#define FARSPAN_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FARSPAN_TRANSPORT_ABI 1
#define FARSPAN_HANDLE_BYTES 128

enum {
  FARSPAN_OK = 0,
  FARSPAN_AGAIN = 1,  /* not yet: call again later */
  FARSPAN_FAILED = -1 /* for good; the text says why */
};

/* The library's own. */
typedef struct farspan_instance farspan_instance; /* one per rank */
typedef struct farspan_listener farspan_listener;
typedef struct farspan_comm farspan_comm;
typedef struct farspan_request farspan_request;

/* Filled where a call returns FARSPAN_FAILED: what happened, to whom, what to do. */
struct farspan_error {
  char text[256];
};

struct farspan_config {
  size_t size;       /* sizeof(struct farspan_config), of Farspan's header */
  const char* local; /* numeric address by which the peers reach this rank: "10.0.0.1", "fd00::1" */
  const char* options; /* what the user wrote after --transport-options; "" if nothing */
  int64_t timeout_ns;  /* a peer that is silent for so long is gone */
};

struct farspan_properties {
  uint64_t max_message_bytes;
  uint32_t max_requests; /* posted and not yet done, per comm: at least 8 */
  uint64_t bits_per_s;   /* 0: not known */
  int64_t latency_ns;    /* one way; 0: not known */
};

struct farspan_transport_ops {
  uint32_t abi;     /* FARSPAN_TRANSPORT_ABI */
  uint32_t size;    /* sizeof(struct farspan_transport_ops) */
  const char* name; /* for tables: "mine" */

  int (*open)(const struct farspan_config* config, farspan_instance** instance,
              struct farspan_error* error);
  /* Ends all that is left of the instance. */
  void (*close)(farspan_instance* instance);
  void (*properties)(farspan_instance* instance, struct farspan_properties* properties);

  /* The handle holds whatever connect() needs; Farspan does not look into it. */
  int (*listen)(farspan_instance* instance, uint8_t handle[FARSPAN_HANDLE_BYTES],
                farspan_listener** listener, struct farspan_error* error);
  void (*stop_listening)(farspan_instance* instance, farspan_listener* listener);
  /* FARSPAN_OK or FARSPAN_AGAIN. A listener serves any number of comms. */
  int (*accept)(farspan_instance* instance, farspan_listener* listener, farspan_comm** comm);
  /* At once; state() tells when the comm is ready. FARSPAN_FAILED for a handle that is no handle.
   */
  int (*connect)(farspan_instance* instance, const uint8_t handle[FARSPAN_HANDLE_BYTES],
                 farspan_comm** comm, struct farspan_error* error);
  int (*state)(farspan_instance* instance, farspan_comm* comm);
  /* Why state() is FARSPAN_FAILED; good until close_comm(). */
  const char* (*failure)(farspan_instance* instance, farspan_comm* comm);
  /* Ends its requests too: they are not tested any more. */
  void (*close_comm)(farspan_instance* instance, farspan_comm* comm);

  /* FARSPAN_AGAIN: try later, since max_requests are pending or the comm is not ready; or it has
   * failed, as state() says. `memory` is what register_memory gave, else 0. */
  int (*post_send)(farspan_instance* instance, farspan_comm* comm, const void* data, uint64_t bytes,
                   uint32_t tag, uint32_t memory, farspan_request** request);
  int (*post_recv)(farspan_instance* instance, farspan_comm* comm, void* data, uint64_t bytes,
                   uint32_t tag, uint32_t memory, farspan_request** request);
  /* FARSPAN_OK: done, *bytes is the message's length. FARSPAN_OK and FARSPAN_FAILED both end the
   * request: it is not tested again. */
  int (*test)(farspan_instance* instance, farspan_request* request, uint64_t* bytes);

  /* Does what can be done and waits for more, for timeout_ns at most. FARSPAN_OK as soon as accept,
   * state or test may answer differently, FARSPAN_AGAIN when the time is over. NULL where the
   * library has threads of its own: Farspan then asks in turn, with short sleeps. */
  int (*progress)(farspan_instance* instance, int64_t timeout_ns);

  /* NULL where buffers need not be known beforehand. Both or neither. */
  int (*register_memory)(farspan_instance* instance, void* data, uint64_t bytes, uint32_t* memory,
                         struct farspan_error* error);
  void (*deregister_memory)(farspan_instance* instance, uint32_t memory);
};

/* What the library defines. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
extern const struct farspan_transport_ops farspan_transport_plugin;

#ifdef __cplusplus
}
#endif

#endif /* FARSPAN_TRANSPORT_H */

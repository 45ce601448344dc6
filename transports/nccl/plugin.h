// Farspan's transports as an NCCL net plugin: libnccl-net-farspan.so, thin over Transport.
//
// One Transport per process, made by the first init() and shared by all communicators. NCCL's proxy
// threads call in at will and Transport is for one thread, so every call holds one lock; calls of
// test() move the transport along, and a thread does so while nobody calls. Host memory, single
// receives. Tags are not sent: with single receives NCCL matches by posting order alone.
//
// What was closed goes on until the peers know of it: finalize() waits for that, bounded, and so
// does the end of the process (NCCL up to v10 has no finalize), where comms that are open are
// closed first.
//
// Configuration is the environment's: see docs/bring-your-own.md. Not here: sends that end before
// the receiver has all (so that NCCL_BUFFSIZE / RTT bounds a channel), GPU memory, registration by
// dmabuf. Functions answer ncclResult_t; what went wrong is logged through NCCL's logger.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "emulator/base/result.h"
#include "transports/core/transport.h"
#include "transports/doors/nccl_api.h"

namespace farspan::nccl_plugin {

using doors::nccl::Log;
using doors::nccl::Status;

class Plugin {
 public:
  static Plugin& Instance();

  Status init(Log log);
  Status finalize();
  // name and speed live as long as the process.
  const char* name() const { return name_.c_str(); }
  transport::Properties properties() const;

  Status listen(void* handle, void** listener);
  Status connect(void* handle, void** comm);
  Status accept(void* listener, void** comm);
  Status register_memory(void* data, size_t bytes, int type, void** memory);
  Status deregister_memory(void* memory);
  Status post(void* comm, void* data, size_t bytes, void* memory, void** request);
  Status test(void* request, int* done, int* bytes);
  Status close(void* comm);
  Status close_listener(void* listener);

 private:
  struct Comm;
  struct Request {
    transport::RequestId id;
    Comm* comm = nullptr;
  };
  struct Comm {
    transport::CommId id;
    bool sends = false;
    bool open = true;  // false: the process ends
    // Those that are not done yet: NCCL need not ask for all before it closes.
    std::unordered_map<const Request*, std::unique_ptr<Request>> requests{};
  };
  // NCCL asks again with the same handle at the same place until it has its comm.
  using Asked = std::pair<void*, transport::Handle>;

  Plugin() = default;
  Status add(Comm comm, void** added);
  void shut(Comm& comm);
  void stop_moving();
  void leave();
  Status fail(Status answer, const std::string& text);
  Status failed(const Comm& comm);
  void move() { transport_->progress(transport_->now()); }
  void keep_moving();

  std::mutex lifetime_;  // of the transport and its thread: init and finalize, one at a time
  std::mutex mutex_;
  Log log_ = nullptr;
  int users_ = 0;
  std::string name_;
  std::unique_ptr<transport::Transport> transport_;
  std::map<Asked, transport::CommId> connecting_;
  std::unordered_map<const Comm*, std::unique_ptr<Comm>> comms_;
  std::condition_variable stopped_;
  bool stop_ = false;
  pid_t process_ = 0;  // whose thread and sockets these are
  std::thread mover_;
};

}  // namespace farspan::nccl_plugin

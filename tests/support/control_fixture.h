// A control server over real sockets with a fake engine behind it, and clients of it.
#pragma once

#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "emulator/control/server.h"
#include "tests/support/fake_engine.h"

namespace farspan::control {

inline std::string Body(const httplib::Result& result) {
  return result ? result->body : "no answer";
}
inline int Status(const httplib::Result& result) { return result ? result->status : -1; }

class ControlTest : public testing::Test {
 protected:
  ControlTest() {
    char name[] = "/tmp/farspan-control-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~ControlTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  ServerOptions options(std::string address = "127.0.0.1:0") const {
    ServerOptions options;
    options.address = std::move(address);
    options.patience = std::chrono::milliseconds(500);
    return options;
  }
  void start(const ServerOptions& options) {
    auto started = ControlServer::Start(engine_, options);
    ASSERT_TRUE(started) << started.error().text();
    server_ = std::move(*started);
  }
  void start() { start(options()); }

  httplib::Client client() const {
    const Address& address = server_->address();
    httplib::Client client(address.is_unix() ? address.path : "127.0.0.1", address.port);
    if (address.is_unix()) client.set_address_family(AF_UNIX);
    return client;
  }
  httplib::Result get(const std::string& path, const httplib::Headers& headers = {}) const {
    return client().Get(path, headers);
  }
  httplib::Result patch(const std::string& path, const std::string& body) const {
    return client().Patch(path, body, "application/json");
  }
  httplib::Result post(const std::string& path, const std::string& body) const {
    return client().Post(path, body, "application/json");
  }
  std::string path_of(const std::string& file) const { return directory_ + "/" + file; }
  std::string token_file(const std::string& text, mode_t mode) const {
    std::string path = path_of("token");
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }

  // Sends bytes as they are.
  std::string raw(const std::string& bytes) const {
    const int fd = connect_raw();
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return read_all(fd);
  }
  // What comes until the server closes.
  static std::string read_all(int fd) {
    std::string answer;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
    close(fd);
    return answer;
  }
  int connect_raw() const {
    const SocketAddress to = ToSocketAddress(server_->address());
    const int fd = socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, to.get(), to.length), 0);
    return fd;
  }

  FakeEngine engine_;
  std::string directory_;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace farspan::control

#include "emulator/control/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "emulator/base/check.h"
#include "emulator/control/api.h"
#include "emulator/control/connection.h"
#include "emulator/control/guard.h"
#include "emulator/control/metrics.h"
#include "emulator/control/queue_pairs.h"
#include "emulator/control/status_page.h"

namespace farspan::control {
namespace {

constexpr size_t kRequestBytesMax = Guard::kBodyBytesMax + (16u << 10);
constexpr const char* kJson = "application/json";
constexpr const char* kPolicy = "Content-Security-Policy";

struct HttpError {
  int status;
  std::string_view code;
};
HttpError ToHttp(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return {400, "invalid"};
    case ErrorCode::kMachine:
      return {503, "machine"};
    case ErrorCode::kConflict:
      return {409, "conflict"};
    case ErrorCode::kNotFound:
      return {404, "not_found"};
    case ErrorCode::kIo:
      return {500, "io"};
  }
  FARSPAN_CHECK(false);
}

void Refuse(httplib::Response& response, int status, std::string_view code,
            std::string_view message) {
  response.status = status;
  response.set_content(ErrorJson(code, message), kJson);
}

void Answer(httplib::Response& response, const Result<std::string>& json) {
  if (json) {
    response.set_content(*json, kJson);
    return;
  }
  const HttpError error = ToHttp(json.error().code);
  Refuse(response, error.status, error.code, json.error().text());
}

std::string Nonce() {
  unsigned char bytes[16];
  FARSPAN_CHECK(getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// The page's one script and one style run by a nonce; nothing else does, and no page may frame it.
void AnswerWithPage(httplib::Response& response) {
  const std::string nonce = Nonce();
  std::string page(kStatusPage);
  constexpr std::string_view kPlace = "NONCE";
  for (size_t at = 0; (at = page.find(kPlace, at)) != std::string::npos;) {
    page.replace(at, kPlace.size(), nonce);
  }
  response.headers.erase(kPolicy);
  response.set_header(
      kPolicy, fmt::format("default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; "
                           "connect-src 'self'; img-src data:; base-uri 'none'; "
                           "form-action 'none'; frame-ancestors 'none'",
                           nonce));
  response.set_content(page, "text/html; charset=utf-8");
}

// cpp-httplib's parsing and routing over connections of our own.
class Router : public httplib::Server {
 public:
  Router(EngineControl& engine, Guard guard) : engine_(engine), guard_(std::move(guard)) {
    set_default_headers({{"X-Content-Type-Options", "nosniff"},
                         {"X-Frame-Options", "DENY"},
                         {"Referrer-Policy", "no-referrer"},
                         {"Cache-Control", "no-store"},
                         {kPolicy, "default-src 'none'; frame-ancestors 'none'"}});
    set_payload_max_length(Guard::kBodyBytesMax);
    set_pre_routing_handler([this](const auto& request, auto& response) {
      const std::optional<Refusal> refusal = guard_.refuses(request);
      if (!refusal) return HandlerResponse::Unhandled;
      if (refusal->status == 401) response.set_header("WWW-Authenticate", "Bearer");
      Refuse(response, refusal->status, refusal->code, refusal->message);
      return HandlerResponse::Handled;
    });
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      const bool unknown = response.status == 404;
      Refuse(response, response.status, unknown ? "not_found" : "bad_request",
             unknown ? "no such path, or not with this method" : "the request cannot be read");
    });
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) {
          Refuse(response, 500, "internal", "the request could not be answered");
        });
    add_readers();
    add_changers();
  }

  void serve(Connection& connection) {
    bool closed = false;
    process_request(connection, true, closed, [](httplib::Request& request) {
      // A request without either has no body (RFC 9112, 6.3); the library would wait for one.
      if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding")) {
        request.set_header("Content-Length", "0");
      }
    });
    connection.finish();
  }

 private:
  void add_readers() {
    Get("/", [](const httplib::Request&, httplib::Response& out) { AnswerWithPage(out); });
    Get("/metrics", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(MetricsText(engine_.snapshot()), "text/plain; version=0.0.4; charset=utf-8");
    });
    Get("/healthz", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(HealthJson(engine_.snapshot()), kJson);
    });
    Get("/api/v1/links", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(LinksJson(engine_.snapshot()), kJson);
    });
    Get("/api/v1/links/([^/]+)", [this](const httplib::Request& in, httplib::Response& out) {
      Answer(out, LinkJson(engine_.snapshot(), in.matches[1].str()));
    });
    Get("/api/v1/links/([^/]+)/queue_pairs",
        [this](const httplib::Request& in, httplib::Response& out) {
          Answer(out, queue_pairs(in.matches[1].str(), in.get_param_value("limit")));
        });
    Get("/api/v1/links/([^/]+)/rules(?:/([^/]+))?",
        [this](const httplib::Request& in, httplib::Response& out) {
          Answer(out, RulesJson(engine_.snapshot(), in.matches[1].str(), RuleName(in)));
        });
    Get("/api/v1/certificate", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(engine_.certificate(), kJson);
    });
  }

  void add_changers() {
    Patch("/api/v1/links/([^/]+)", [this](const httplib::Request& in, httplib::Response& out) {
      Answer(out, change(in, PlanSettings));
    });
    Post("/api/v1/links/([^/]+)/cut", [this](const httplib::Request& in, httplib::Response& out) {
      Answer(out, change(in, PlanCut));
    });
    Post("/api/v1/links/([^/]+)/restore",
         [this](const httplib::Request& in, httplib::Response& out) {
           Answer(out, change(in, PlanRestore));
         });
    Post("/api/v1/links/([^/]+)/rules",
         [this](const httplib::Request& in, httplib::Response& out) { Answer(out, add_rule(in)); });
    Delete("/api/v1/links/([^/]+)/rules(?:/([^/]+))?",
           [this](const httplib::Request& in, httplib::Response& out) {
             Answer(out, remove_rule(in));
           });
    Post("/api/v1/epoch", [this](const httplib::Request& in, httplib::Response& out) {
      Answer(out, CheckEmpty(in.body).and_then([this] { return start_epoch(); }));
    });
  }

  // Of /api/v1/links/NAME/rules/RULE.
  static std::optional<std::string> RuleName(const httplib::Request& request) {
    if (!request.matches[2].matched) return std::nullopt;
    return request.matches[2].str();
  }

  // One thing after the other; where the second cannot be, the answer says that the first is done.
  template <typename Part, typename Do>
  Result<std::vector<AppliedChange>> in_turn(const std::vector<Part>& parts, Do act) {
    std::vector<AppliedChange> applied;
    for (const Part& part : parts) {
      const Result<AppliedChange> done = act(part);
      if (!done) {
        Error error = done.error();
        if (!applied.empty()) {
          const Direction first = *applied.front().direction;
          const Direction second = first == Direction::kAb ? Direction::kBa : Direction::kAb;
          error.message += fmt::format(" (direction {} has been changed, {} has not)",
                                       ToText(first), ToText(second));
        }
        return tl::unexpected(std::move(error));
      }
      applied.push_back(*done);
    }
    return applied;
  }

  Result<std::string> add_rule(const httplib::Request& request) {
    const std::lock_guard lock(change_mutex_);
    const std::string link = request.matches[1];
    const Result<PlannedRule> plan = PlanRule(engine_.snapshot(), link, request.body);
    if (!plan) return tl::unexpected(plan.error());
    return in_turn(plan->rules,
                   [&](const auto& part) {
                     return engine_.add_rule(link, part.first, part.second)
                         .map([&](const Applied& done) {
                           return AppliedChange{part.first, done.at};
                         });
                   })
        .map([&](const auto& applied) { return AppliedJson(applied, plan->name); });
  }

  Result<std::string> remove_rule(const httplib::Request& request) {
    const std::lock_guard lock(change_mutex_);
    const std::string link = request.matches[1];
    const std::optional<std::string> name = RuleName(request);
    const auto directions = PlanRemoval(engine_.snapshot(), link, name, request.body);
    if (!directions) return tl::unexpected(directions.error());
    return in_turn(
               *directions,
               [&](Direction direction) {
                 return engine_.remove_rule(link, direction, name).map([&](const Applied& done) {
                   return AppliedChange{direction, done.at};
                 });
               })
        .map([](const auto& applied) { return AppliedJson(applied); });
  }

  Result<std::string> change(const httplib::Request& request,
                             Result<Plan> (*plan_of)(const EngineSnapshot&, std::string_view,
                                                     std::string_view)) {
    const std::lock_guard lock(change_mutex_);  // a plan stands on the state that it was made from
    const std::string link = request.matches[1];
    const Result<Plan> plan = plan_of(engine_.snapshot(), link, request.body);
    if (!plan) return tl::unexpected(plan.error());
    return in_turn(*plan,
                   [&](const PlannedChange& part) {
                     return engine_.change(link, part.direction, part.changes)
                         .map([&](const Applied& done) {
                           return AppliedChange{part.direction, done.at};
                         });
                   })
        .map([](const auto& applied) { return AppliedJson(applied); });
  }

  Result<std::string> queue_pairs(const std::string& link, const std::string& limit) {
    return ParseLimit(limit).and_then([&](size_t most) {
      return engine_.queue_pairs(link).map(
          [&](auto all) { return QueuePairsJson(link, std::move(all), most); });
    });
  }

  Result<std::string> start_epoch() {
    const std::lock_guard lock(change_mutex_);
    return engine_.start_epoch().map([](const Applied& done) {
      return AppliedJson({{std::nullopt, done.at}});
    });
  }

  EngineControl& engine_;
  const Guard guard_;
  std::mutex change_mutex_;
};

}  // namespace

class ControlServer::Impl {
 public:
  Impl(EngineControl& engine, const ServerOptions& options, Listener listener, std::string token)
      : options_(options),
        listener_(std::move(listener)),
        router_(engine, Guard(listener_.address(), std::move(token))),
        stop_fd_(eventfd(0, EFD_CLOEXEC)) {
    FARSPAN_CHECK(stop_fd_ >= 0 && options_.threads > 0);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the threads of the program
    for (int i = 0; i < options_.threads; ++i) workers_.emplace_back([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Impl() {
    eventfd_write(stop_fd_, 1);
    for (std::thread& worker : workers_) worker.join();
    close(stop_fd_);
  }

  const Address& address() const { return listener_.address(); }

 private:
  void work() {
    if (options_.thread_start) options_.thread_start();
    for (;;) {
      pollfd fds[] = {{stop_fd_, POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
      poll(fds, 2, -1);
      if (fds[0].revents != 0) return;
      const int fd = accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        Connection connection(fd, stop_fd_, options_.patience, kRequestBytesMax);
        router_.serve(connection);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        poll(fds, 1, 100);  // until another connection has ended, without spinning
      }
    }
  }

  const ServerOptions options_;
  const Listener listener_;
  Router router_;
  const int stop_fd_;
  std::vector<std::thread> workers_;
};

Result<std::unique_ptr<ControlServer>> ControlServer::Start(EngineControl& engine,
                                                            const ServerOptions& options) {
  const Result<Address> address = ParseAddress(options.address);
  if (!address) return tl::unexpected(address.error());
  std::string token;
  if (!options.token_file.empty()) {
    Result<std::string> read = ReadToken(options.token_file);
    if (!read) return tl::unexpected(read.error());
    token = std::move(*read);
  } else if (!address->is_unix() && !address->is_loopback()) {
    return Fail(ErrorCode::kInvalid,
                "whoever reaches this address could cut links: give a token file that only you "
                "can read (--token-file), or listen on loopback or a Unix socket",
                address->text());
  }
  Result<Listener> listener = Listener::Open(*address);
  if (!listener) return tl::unexpected(listener.error());
  return std::unique_ptr<ControlServer>(new ControlServer(
      std::make_unique<Impl>(engine, options, std::move(*listener), std::move(token))));
}

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;
const Address& ControlServer::address() const { return impl_->address(); }

}  // namespace farspan::control

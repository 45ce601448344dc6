#include "transports/testbed/cross_flow.h"

namespace farspan::testbed {

using transport::Progress;
using transport::RequestId;

Result<void> CrossFlow::start() {
  from_.set_listener(this);
  to_.set_listener(this);
  transport::Handle handle;
  const auto listener = to_.listen(handle);
  if (!listener) return tl::unexpected(listener.error());
  listener_ = *listener;
  const auto sender = from_.connect(handle);
  if (!sender) return tl::unexpected(sender.error());
  sender_ = *sender;
  return {};
}

void CrossFlow::on_progress() {
  if (!receiver_) receiver_ = to_.accept(listener_);
  if (receiver_) keep_posted(false, receives_);
  if (from_.state(sender_) == transport::CommState::kReady) keep_posted(true, sends_);
}

void CrossFlow::keep_posted(bool sends, std::vector<RequestId>& requests) {
  transport::Transport& side = sends ? from_ : to_;
  std::erase_if(requests, [&](const RequestId& request) {
    return side.test(request).progress != Progress::kPending;
  });
  while (requests.size() < kAhead) {
    const transport::Buffer buffer{nullptr, message_bytes_};
    const auto request =
        sends ? side.post_send(sender_, buffer, 0) : side.post_recv(*receiver_, buffer, 0);
    if (!request) return;
    requests.push_back(*request);
  }
}

}  // namespace farspan::testbed

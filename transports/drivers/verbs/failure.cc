#include "transports/drivers/verbs/failure.h"

#include <fmt/format.h>

namespace farspan::verbs {
namespace {

const char* Advice(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_RETRY_EXC_ERR:
      return "the peer's NIC has not acknowledged: is the peer running, does the path carry UDP "
             "port 4791 both ways, and is timeout x retries (NCCL_IB_TIMEOUT, NCCL_IB_RETRY_CNT) "
             "longer than a round trip?";
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return "the peer has posted no receive: is it stuck?";
    case IBV_WC_LOC_LEN_ERR:
      return "what came is longer than the buffer: have both ends' interfaces the same MTU?";
    case IBV_WC_REM_ACCESS_ERR:
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_REM_OP_ERR:
      return "the peer's NIC has refused it: why does the peer say it ended?";
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
      return "a buffer is not registered memory any more: was it freed before its request ended?";
    default:
      return "is the port up (rdma link show), has its address changed, and what does dmesg say?";
  }
}

}  // namespace

std::string Explain(const std::string& device, const ibv_wc& completion) {
  return fmt::format("queue pair {} of {} has failed: {} (status {}, vendor error {:#x}): {}",
                     completion.qp_num, device, ibv_wc_status_str(completion.status),
                     static_cast<int>(completion.status), completion.vendor_err,
                     Advice(completion.status));
}

}  // namespace farspan::verbs

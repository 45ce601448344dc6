// Checks of arguments, each with a message that names the item. Not modelled: overlap between
// items.
#pragma once

#include "kernels/kernels.h"

namespace farspan::kernels {

fsk_status CheckExec(const fsk_exec* exec);
fsk_status CheckItems(const void* items, size_t count);
// allow_fp16: reductions alone take it.
fsk_status CheckType(fsk_type type, bool allow_fp16);
fsk_status CheckCode(fsk_code code);
fsk_status CheckQuantiser(const fsk_quantiser* quantiser);
fsk_status CheckParityCode(const fsk_parity_code* code);

fsk_status Check(fsk_type type, const fsk_quantise_item& item, size_t index);
fsk_status Check(fsk_type type, const fsk_dequantise_item& item, size_t index);
fsk_status Check(fsk_type type, const fsk_accumulate_item& item, size_t index);
fsk_status Check(fsk_type type, const fsk_reduce_item& item, size_t index);
fsk_status Check(const fsk_parity_code& code, bool decode, const fsk_stripe& stripe, size_t index);
fsk_status Check(const fsk_packets& packets, size_t index);

}  // namespace farspan::kernels

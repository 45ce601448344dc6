/* Libraries that must be refused with a clear word: another version, another size, functions that
 * are missing, no door at all. In C, as the header is. REFUSED selects which. */
#include "transports/abi/farspan_transport.h"

#define ANOTHER_VERSION 1
#define ANOTHER_SIZE 2
#define FUNCTIONS_MISSING 3
#define NO_DOOR 4
#define OLD_NCCL 5
#define EMPTY_NCCL 6

#if REFUSED == ANOTHER_VERSION
const struct farspan_transport_ops farspan_transport_plugin = {
    .abi = FARSPAN_TRANSPORT_ABI + 1, .size = sizeof(struct farspan_transport_ops), .name = "next"};
#elif REFUSED == ANOTHER_SIZE
const struct farspan_transport_ops farspan_transport_plugin = {
    .abi = FARSPAN_TRANSPORT_ABI, .size = sizeof(struct farspan_transport_ops) - 8, .name = "small"};
#elif REFUSED == FUNCTIONS_MISSING
static void close_it(farspan_instance* instance) { (void)instance; }
const struct farspan_transport_ops farspan_transport_plugin = {
    .abi = FARSPAN_TRANSPORT_ABI,
    .size = sizeof(struct farspan_transport_ops),
    .name = "empty",
    .close = close_it};
#elif REFUSED == NO_DOOR
const int nothing_of_interest = 1;
#elif REFUSED == OLD_NCCL
const void* ncclNetPlugin_v6[19];
#elif REFUSED == EMPTY_NCCL
const void* ncclNetPlugin_v12[22];
#endif

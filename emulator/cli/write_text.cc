#include "emulator/cli/write_text.h"

#include <fstream>

namespace farspan {

Result<void> WriteText(const std::string& file, const std::string& text,
                       const std::string& option) {
  std::ofstream out(file);
  out << text;
  out.close();  // a full disk may show no earlier
  if (!out) return Fail(ErrorCode::kIo, "cannot write '" + file + "'", option);
  return {};
}

}  // namespace farspan

// SharedLibrary: a library loaded by path. It stays loaded until the process ends: transports have
// threads, and their code must not vanish under them.
#pragma once

#include <string>

#include "emulator/base/result.h"

namespace farspan::doors {

class SharedLibrary {
 public:
  // "mine.so" is looked for in the working directory first, then where the system's loader looks.
  static Result<SharedLibrary> Open(const std::string& path);
  // Null: it has no such symbol.
  const void* find(const char* symbol) const;
  const std::string& path() const { return path_; }

 private:
  SharedLibrary(std::string path, void* handle) : path_(std::move(path)), handle_(handle) {}
  std::string path_;
  void* handle_;
};

}  // namespace farspan::doors

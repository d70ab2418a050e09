// Generate text with a charlm model: ONNX Runtime, and nlohmann/json to read its metadata.
// generate MODEL PROMPT TEMPERATURE SEED LENGTH
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

// The number in (0, 1) of a position: Philox4x64-10 (Salmon et al., 2011), key (seed, 0).
float uniform(uint64_t seed, uint64_t position) {
  using Wide = unsigned __int128;
  uint64_t words[4] = {1 + position / 4}, key = seed, other = 0;
  auto& [a, b, c, d] = words;
  for (int round = 0; round < 10; ++round) {
    const Wide x = Wide{a} * 0xD2E7470EE14C6C93, y = Wide{c} * 0xCA5A826395121157;
    a = static_cast<uint64_t>(y >> 64) ^ b ^ key;
    c = static_cast<uint64_t>(x >> 64) ^ d ^ other;
    b = static_cast<uint64_t>(y), d = static_cast<uint64_t>(x);
    key += 0x9E3779B97F4A7C15, other += 0xBB67AE8584CAA73B;
  }
  return (static_cast<float>(words[position % 4] >> 41) + 0.5f) * 0x1p-23f;
}

int main(int argc, char** argv) try {
  if (argc != 6) throw std::runtime_error("generate MODEL PROMPT TEMPERATURE SEED LENGTH");
  const double temperature = std::stod(argv[3]);
  const uint64_t seed = std::stoull(argv[4]), length = std::stoull(argv[5]);

  Ort::Env env;
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);  // a step is too small to share among cores
  Ort::Session session(env, argv[1], options);
  const auto properties = session.GetModelMetadata();
  const auto metadata = [&](const char* key) {
    Ort::AllocatorWithDefaultOptions allocator;
    return nlohmann::json::parse(properties.LookupCustomMetadataMapAllocated(key, allocator).get());
  };
  if (metadata("charlm.format") != 1 || metadata("charlm.sampling") != 1)
    throw std::runtime_error("the model was written by a later charlm");
  const auto config = metadata("charlm.config");
  const std::vector<std::string> vocabulary = metadata("charlm.vocabulary");
  std::vector<float> scores = metadata("charlm.initial");  // where the prompt is empty

  const std::int64_t one = 1, shape[] = {1, config["layers"], config["hidden"]};
  std::int64_t token = 0;
  std::vector<float> zeros(shape[1] * shape[2]);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
  const auto start = [&] {
    return Ort::Value::CreateTensor(memory, zeros.data(), zeros.size(), shape, 3);
  };
  Ort::Value inputs[] = {Ort::Value::CreateTensor(memory, &token, 1, &one, 1), start(), start()};
  const auto read = [&] {  // the token; scores become the next one's logits
    const char* const names[] = {"token", "h", "c"};
    const char* const results[] = {"logits", "h_next", "c_next"};
    auto outputs = session.Run(Ort::RunOptions(), names, inputs, 3, results, 3);
    std::copy_n(outputs[0].GetTensorData<float>(), scores.size(), scores.begin());
    inputs[1] = std::move(outputs[1]), inputs[2] = std::move(outputs[2]);
  };

  // The prompt as it was normalised for training: the standard library has no Unicode tables.
  for (std::string rest = argv[2]; !rest.empty(); rest.erase(0, vocabulary[token].size())) {
    const auto begins = [&](const std::string& character) { return rest.find(character) == 0; };
    const auto found = std::find_if(vocabulary.begin(), vocabulary.end(), begins);
    if (found == vocabulary.end())
      throw std::runtime_error("the vocabulary lacks the start of: " + rest);
    token = found - vocabulary.begin();
    read();
  }
  std::cout << argv[2];
  for (uint64_t position = 0; position < length; ++position) {
    token = std::max_element(scores.begin(), scores.end()) - scores.begin();
    if (temperature > 0) {
      const float most = scores[token];
      if (position > 0 || *argv[2] != '\0')
        for (float& score : scores)
          score = std::exp((score - most) * static_cast<float>(1 / temperature));
      std::partial_sum(scores.begin(), scores.end(), scores.begin());
      const float share = uniform(seed, position) * scores.back();
      token = std::lower_bound(scores.begin(), scores.end(), share) - scores.begin();
    }
    std::cout << vocabulary[token] << std::flush;
    read();
  }
  std::cout << std::endl;
} catch (const std::exception& problem) {
  std::cerr << problem.what() << std::endl;
  return 1;
}

// Generate text with a charlm model: Microsoft.ML.OnnxRuntime alone.
// dotnet run -- MODEL PROMPT TEMPERATURE SEED LENGTH
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;

var (model, prompt) = (args[0], args[1]);
var temperature = double.Parse(args[2], CultureInfo.InvariantCulture);
var (seed, length) = (ulong.Parse(args[3]), int.Parse(args[4]));

using var options = new SessionOptions { IntraOpNumThreads = 1 }; // too small a step to share
using var session = new InferenceSession(model, options);
var metadata = session.ModelMetadata.CustomMetadataMap;
if (metadata["charlm.format"] != "1" || metadata["charlm.sampling"] != "1")
    throw new NotSupportedException($"{model}: written by a later charlm");
var config = JsonDocument.Parse(metadata["charlm.config"]).RootElement;
var vocabulary = JsonSerializer.Deserialize<string[]>(metadata["charlm.vocabulary"])!;

var rules = config.GetProperty("normalisation");
var newlines = rules.GetProperty("newlines").GetString();
prompt = prompt.Replace("\n", newlines switch { "drop" => "", "space" => " ", _ => "\n" });
if (rules.GetProperty("case").GetString() == "lower") prompt = prompt.ToLowerInvariant();
if (rules.GetProperty("nfc").GetBoolean()) prompt = prompt.Normalize(NormalizationForm.FormC);

long[] shape = [1, config.GetProperty("layers").GetInt64(), config.GetProperty("hidden").GetInt64()];
OrtValue Zeros() => OrtValue.CreateTensorValueFromMemory(new float[shape[1] * shape[2]], shape);
var (h, c) = (Zeros(), Zeros());
using var run = new RunOptions();
float[] Read(int token)
{
    using var input = OrtValue.CreateTensorValueFromMemory(new long[] { token }, new long[] { 1 });
    var inputs = new Dictionary<string, OrtValue> { ["token"] = input, ["h"] = h, ["c"] = c };
    var outputs = session.Run(run, inputs, new[] { "logits", "h_next", "c_next" }).ToArray();
    h.Dispose();
    c.Dispose();
    (h, c) = (outputs[1], outputs[2]);
    using var logits = outputs[0];
    return logits.GetTensorDataAsSpan<float>().ToArray();
}

// The number in (0, 1) of a position: Philox4x64-10 (Salmon et al., 2011), key (seed, 0).
static float Uniform(ulong seed, int position)
{
    ulong[] words = [1 + (ulong)position / 4, 0, 0, 0];
    var (key, other) = (seed, 0UL);
    for (var round = 0; round < 10; round++)
    {
        var x = Math.BigMul(words[0], 0xD2E7470EE14C6C93UL, out var xLow);
        var y = Math.BigMul(words[2], 0xCA5A826395121157UL, out var yLow);
        words = [y ^ words[1] ^ key, yLow, x ^ words[3] ^ other, xLow];
        (key, other) = (key + 0x9E3779B97F4A7C15UL, other + 0xBB67AE8584CAA73BUL);
    }
    return ((words[position % 4] >> 41) + 0.5f) / (1 << 23);
}

var scores = JsonSerializer.Deserialize<float[]>(metadata["charlm.initial"])!; // of an empty prompt
foreach (var character in prompt.EnumerateRunes())
{
    var token = Array.IndexOf(vocabulary, character.ToString());
    if (token < 0) throw new ArgumentException($"{model}: its vocabulary lacks '{character}'");
    scores = Read(token);
}
Console.Write(prompt);
var inverse = (float)(1 / temperature);
for (var position = 0; position < length; position++)
{
    var most = scores.Max();
    var token = Array.IndexOf(scores, most);
    if (temperature > 0)
    {
        if (position > 0 || prompt != "")
            scores = Array.ConvertAll(scores, logit => MathF.Exp((logit - most) * inverse));
        var total = 0f; // the first token whose sum reaches a random share of the total
        var sums = Array.ConvertAll(scores, weight => total += weight);
        var share = Uniform(seed, position) * total;
        token = Array.FindIndex(sums, sum => sum >= share);
    }
    Console.Write(vocabulary[token]);
    scores = Read(token);
}
Console.WriteLine();

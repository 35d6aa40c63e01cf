// A TensorRT that a C++ compiler made of NVIDIA's headers: one engine, which adds and subtracts two rows of floats in host
// memory. `stubs.h` is generated from the headers: classes whose methods end the process.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "NvInfer.h"

using namespace nvinfer1;

[[noreturn]] static void unexpected(char const* method)
{
    std::fprintf(stderr, "an unexpected method was called: %s\n", method);
    std::abort();
}

#include "stubs.h"

namespace
{

ILogger* logger = nullptr;
IErrorRecorder* recorder = nullptr;
int live = 0;

bool fail(char const* what)
{
    logger->log(ILogger::Severity::kERROR, what);
    if (recorder != nullptr)
    {
        recorder->reportError(ErrorCode::kINVALID_ARGUMENT, what);
    }
    return false;
}

constexpr char const* kNAMES[] = {"INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"};

int indexOf(char const* name)
{
    for (int index = 0; index < 4; ++index)
    {
        if (std::strcmp(name, kNAMES[index]) == 0)
        {
            return index;
        }
    }
    std::fprintf(stderr, "there is no tensor %s\n", name);
    std::abort();
}

Dims rows(int64_t count)
{
    Dims dims{};
    dims.nbDims = 2;
    dims.d[0] = count;
    dims.d[1] = 4;
    return dims;
}

struct Context : StubVExecutionContext
{
    int64_t shapes[2] = {-1, -1};
    void* addresses[4] = {};
    IOutputAllocator* allocators[4] = {};

    bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept override
    {
        return stream == nullptr && (profile == 0 || fail("there is no such profile"));
    }
    bool setInputShape(char const* name, Dims const& dims) noexcept override
    {
        if (dims.nbDims != 2 || dims.d[0] < 1 || dims.d[0] > 8 || dims.d[1] != 4)
        {
            return fail("the shape does not satisfy profile 0");
        }
        shapes[indexOf(name)] = dims.d[0];
        return true;
    }
    Dims getTensorShape(char const* name) const noexcept override
    {
        return rows(shapes[indexOf(name) % 2]);
    }
    bool setTensorAddress(char const* name, void* data) noexcept override
    {
        addresses[indexOf(name)] = data;
        return true;
    }
    int32_t inferShapes(int32_t capacity, char const** names) noexcept override
    {
        int32_t missing = 0;
        for (int index = 0; index < 2; ++index)
        {
            if (shapes[index] < 0 && missing < capacity)
            {
                names[missing++] = kNAMES[index];
            }
        }
        return missing;
    }
    bool setInputConsumedEvent(cudaEvent_t) noexcept override
    {
        return true;
    }
    bool setOutputAllocator(char const* name, IOutputAllocator* allocator) noexcept override
    {
        allocators[indexOf(name)] = allocator;
        return true;
    }
    int64_t getMaxOutputSize(char const*) const noexcept override
    {
        return 8 * 4 * sizeof(float);
    }
    bool enqueueV3(cudaStream_t stream) noexcept override
    {
        int64_t const count = shapes[0] * 4;
        for (int index = 2; index < 4; ++index)
        {
            if (allocators[index] != nullptr)
            {
                addresses[index] = allocators[index]->reallocateOutputAsync(
                    kNAMES[index], addresses[index], count * sizeof(float), 256, stream);
                allocators[index]->notifyShape(kNAMES[index], rows(shapes[0]));
            }
        }
        for (void* address : addresses)
        {
            if (address == nullptr)
            {
                return fail("an address is not set");
            }
        }
        auto const* left = static_cast<float const*>(addresses[0]);
        auto const* right = static_cast<float const*>(addresses[1]);
        for (int64_t index = 0; index < count; ++index)
        {
            static_cast<float*>(addresses[2])[index] = left[index] + right[index];
            static_cast<float*>(addresses[3])[index] = left[index] - right[index];
        }
        return true;
    }
};

template <typename Interface, typename Implementation>
struct Public : Interface
{
    Implementation implementation;
    Public()
    {
        this->mImpl = &implementation;
        ++live;
    }
    ~Public() noexcept override
    {
        --live;
    }
};

struct Engine : StubVCudaEngine
{
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override
    {
        return strategy == ExecutionContextAllocationStrategy::kSTATIC ? new Public<IExecutionContext, Context> : nullptr;
    }
    char const* getName() const noexcept override
    {
        return "from headers";
    }
    int32_t getNbOptimizationProfiles() const noexcept override
    {
        return 1;
    }
    Dims getTensorShape(char const*) const noexcept override
    {
        return rows(-1);
    }
    DataType getTensorDataType(char const*) const noexcept override
    {
        return DataType::kFLOAT;
    }
    TensorLocation getTensorLocation(char const*) const noexcept override
    {
        return TensorLocation::kDEVICE;
    }
    bool isShapeInferenceIO(char const*) const noexcept override
    {
        return false;
    }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override
    {
        return indexOf(name) < 2 ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    int32_t getTensorBytesPerComponent(char const*) const noexcept override
    {
        return 4;
    }
    int32_t getTensorComponentsPerElement(char const*) const noexcept override
    {
        return 1;
    }
    TensorFormat getTensorFormat(char const*) const noexcept override
    {
        return TensorFormat::kLINEAR;
    }
    int32_t getTensorVectorizedDim(char const*) const noexcept override
    {
        return -1;
    }
    Dims getProfileShape(char const*, int32_t profile, OptProfileSelector select) const noexcept override
    {
        int64_t const counts[] = {1, 2, 8};
        return profile == 0 ? rows(counts[static_cast<int32_t>(select)]) : Dims{-1, {}};
    }
    int32_t getNbIOTensors() const noexcept override
    {
        return 4;
    }
    char const* getIOTensorName(int32_t index) const noexcept override
    {
        return kNAMES[index];
    }
#if DEVICE_MEMORY_SIZE_V2
    int64_t getDeviceMemorySizeV2() const noexcept override
#else
    size_t getDeviceMemorySize() const noexcept override
#endif
    {
        return 4096;
    }
};

struct Runtime : StubVRuntime
{
    bool hostCode = false;
    int32_t threads = 1;

    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override
    {
        if (std::string(static_cast<char const*>(blob), size) != "a plan of this test")
        {
            fail("Magic tag does not match");
            return nullptr;
        }
        logger->log(ILogger::Severity::kINFO, "the engine was read");
        return new Public<ICudaEngine, Engine>;
    }
    void setErrorRecorder(IErrorRecorder* other) noexcept override
    {
        recorder = other;
        recorder->incRefCount();
        if (std::strcmp(recorder->getInterfaceInfo().kind, "IErrorRecorder") != 0)
        {
            std::abort();
        }
    }
    bool setMaxThreads(int32_t count) noexcept override
    {
        threads = count;
        return true;
    }
    int32_t getMaxThreads() const noexcept override
    {
        return threads;
    }
    void setEngineHostCodeAllowed(bool allowed) noexcept override
    {
        hostCode = allowed;
    }
    bool getEngineHostCodeAllowed() const noexcept override
    {
        return hostCode;
    }
};

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void* createInferRuntime_INTERNAL(void* theirs, int32_t version) noexcept
{
    logger = static_cast<ILogger*>(theirs);
    return version == NV_TENSORRT_VERSION ? static_cast<IRuntime*>(new Public<IRuntime, Runtime>) : nullptr;
}
EXPORT int32_t getInferLibVersion() noexcept
{
    return NV_TENSORRT_VERSION;
}
EXPORT int32_t getInferLibMajorVersion() noexcept
{
    return NV_TENSORRT_MAJOR;
}
EXPORT int32_t getInferLibMinorVersion() noexcept
{
    return NV_TENSORRT_MINOR;
}
EXPORT int32_t getInferLibPatchVersion() noexcept
{
    return NV_TENSORRT_PATCH;
}
EXPORT int32_t getInferLibBuildVersion() noexcept
{
    return NV_TENSORRT_BUILD;
}
EXPORT std::size_t fake_live_objects() noexcept
{
    return static_cast<std::size_t>(live);
}

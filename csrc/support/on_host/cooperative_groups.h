// See cuda_runtime.h, which provides the clusters that vector.cuh needs.
#pragma once

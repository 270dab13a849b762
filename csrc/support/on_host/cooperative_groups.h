// See cuda_runtime.h: vector.cuh asks it for clusters.
#pragma once

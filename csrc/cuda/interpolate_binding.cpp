// lssl::interpolate and its gradients on CUDA. Schemas: csrc/interpolate.cpp.
#include "binding.h"

namespace lssl::cuda {

namespace {

// The inputs that all three ops have, contiguous; `image` is (N, H, W, ...) in the dtype of the call.
struct Inputs {
  const char* op;
  Tensor triangle, faces;
  Interpolation call;
  bool is_float;

  Inputs(const char* name, const Tensor& triangle_in, const Tensor& faces_in, const Tensor& image,
         const char* image_name, int64_t vertices, int64_t channels)
      : op(name),
        triangle(torch::stable::contiguous(triangle_in)),
        faces(torch::stable::contiguous(faces_in)),
        is_float(image.scalar_type() == ScalarType::Float) {
    check_device(op, "triangle", triangle, image);
    check_device(op, "faces", faces, image);
    STD_TORCH_CHECK(triangle.dim() == 3 && triangle.scalar_type() == ScalarType::Int, op,
                    ": triangle must be (N, H, W) int32");
    STD_TORCH_CHECK(faces.dim() == 2 && faces.size(1) == 3 && faces.scalar_type() == ScalarType::Int, op,
                    ": faces must be (F, 3) int32");
    STD_TORCH_CHECK(is_float || image.scalar_type() == ScalarType::Double, op, ": ", image_name,
                    " must be float32 or float64");
    STD_TORCH_CHECK(image.dim() == 4 && image.size(0) == triangle.size(0) && image.size(1) == triangle.size(1) &&
                        image.size(2) == triangle.size(2),
                    op, ": ", image_name, " must be (N, H, W, ...) like triangle");
    call = {triangle.size(0),
            triangle.size(1) * triangle.size(2),
            faces.size(0),
            vertices,
            channels,
            triangle.const_data_ptr<int32_t>(),
            faces.const_data_ptr<int32_t>()};
  }

  Tensor attributes(const Tensor& t, const Tensor& image) const {
    check_device(op, "attributes", t, image);
    STD_TORCH_CHECK(t.dim() == 3 && t.size(0) == call.batch, op,
                    ": attributes must be (N, V, C) with the batch of triangle");
    STD_TORCH_CHECK(t.scalar_type() == image.scalar_type(), op, ": attributes must have the other inputs' dtype");
    return torch::stable::contiguous(t);
  }
  Tensor barycentric(const Tensor& t, const Tensor& image) const {
    check_device(op, "barycentric", t, image);
    STD_TORCH_CHECK(t.dim() == 4 && t.size(3) == 3 && t.size(0) == call.batch && t.size(1) == triangle.size(1) &&
                        t.size(2) == triangle.size(2),
                    op, ": barycentric must be (N, H, W, 3) like triangle");
    STD_TORCH_CHECK(t.scalar_type() == image.scalar_type(), op, ": barycentric must have the other inputs' dtype");
    return torch::stable::contiguous(t);
  }
  template <typename F>
  void launch(const F& f) const {
    check_launch(op, is_float ? f(float()) : f(double()));
  }
};

int64_t last_size(const Tensor& t) { return t.dim() > 0 ? t.size(t.dim() - 1) : 0; }
int64_t vertices_of(const Tensor& attributes) { return attributes.dim() == 3 ? attributes.size(1) : 0; }

Tensor forward(const Tensor& triangle_in, const Tensor& barycentric_in, const Tensor& faces_in,
               const Tensor& attributes_in) {
  const Queue queue(barycentric_in);
  const Inputs in("interpolate", triangle_in, faces_in, barycentric_in, "barycentric", vertices_of(attributes_in),
                  last_size(attributes_in));
  const Tensor barycentric = in.barycentric(barycentric_in, barycentric_in);
  const Tensor attributes = in.attributes(attributes_in, barycentric_in);
  Tensor output =
      torch::stable::new_empty(attributes, {in.call.batch, in.triangle.size(1), in.triangle.size(2), in.call.channels});
  in.launch([&](auto zero) {
    using T = decltype(zero);
    return interpolate(in.call, barycentric.const_data_ptr<T>(), attributes.const_data_ptr<T>(),
                       output.mutable_data_ptr<T>(), queue.stream());
  });
  return output;
}

Tensor attributes_backward(const Tensor& grad_in, const Tensor& triangle_in, const Tensor& barycentric_in,
                           const Tensor& faces_in, int64_t vertices) {
  const Queue queue(grad_in);
  const Inputs in("interpolate_attributes_backward", triangle_in, faces_in, grad_in, "grad", vertices,
                  last_size(grad_in));
  const Tensor grad = torch::stable::contiguous(grad_in), barycentric = in.barycentric(barycentric_in, grad_in);
  Tensor output = torch::stable::new_empty(grad, {in.call.batch, vertices, in.call.channels});
  Tensor scratch = workspace(grad, interpolate_workspace(in.call));
  in.launch([&](auto zero) {
    using T = decltype(zero);
    return interpolate_attributes_backward(in.call, grad.const_data_ptr<T>(), barycentric.const_data_ptr<T>(),
                                           scratch.mutable_data_ptr(), output.mutable_data_ptr<T>(), queue.stream());
  });
  return output;
}

Tensor barycentric_backward(const Tensor& grad_in, const Tensor& triangle_in, const Tensor& faces_in,
                            const Tensor& attributes_in) {
  const Queue queue(grad_in);
  const Inputs in("interpolate_barycentric_backward", triangle_in, faces_in, grad_in, "grad",
                  vertices_of(attributes_in), last_size(attributes_in));
  const Tensor grad = torch::stable::contiguous(grad_in), attributes = in.attributes(attributes_in, grad_in);
  STD_TORCH_CHECK(grad.size(3) == in.call.channels, in.op, ": grad must have the channels of attributes");
  Tensor output = torch::stable::new_empty(grad, {in.call.batch, in.triangle.size(1), in.triangle.size(2), 3});
  in.launch([&](auto zero) {
    using T = decltype(zero);
    return interpolate_barycentric_backward(in.call, grad.const_data_ptr<T>(), attributes.const_data_ptr<T>(),
                                            output.mutable_data_ptr<T>(), queue.stream());
  });
  return output;
}

}  // namespace

}  // namespace lssl::cuda

STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("interpolate", TORCH_BOX(&lssl::cuda::forward));
  m.impl("interpolate_attributes_backward", TORCH_BOX(&lssl::cuda::attributes_backward));
  m.impl("interpolate_barycentric_backward", TORCH_BOX(&lssl::cuda::barycentric_backward));
}

"""Linear models of many tasks, solved to the optimum.

    min_w  sum_i alpha_i l(y_i, <w_t(i), x_i> + b_t(i)) + Omega(W)

with ``l`` the logistic loss, the hinge, its square or the squared error, and ``Omega`` a quadratic
form over tasks, which says how they are related, and a norm. Pure functions over arrays.
"""

from mtljax.linear.alternate import Clustered as Clustered
from mtljax.linear.alternate import Graph as Graph
from mtljax.linear.alternate import best_edges as best_edges
from mtljax.linear.alternate import fit_clusters as fit_clusters
from mtljax.linear.alternate import fit_graph as fit_graph
from mtljax.linear.draw import draw_relation as draw_relation
from mtljax.linear.features import SparseFeatures as SparseFeatures
from mtljax.linear.features import from_scipy as from_scipy
from mtljax.linear.features import scores as scores
from mtljax.linear.fit import Solution as Solution
from mtljax.linear.fit import fit as fit
from mtljax.linear.mtrl import Related as Related
from mtljax.linear.mtrl import best_covariance as best_covariance
from mtljax.linear.mtrl import correlations as correlations
from mtljax.linear.mtrl import fit_relation as fit_relation
from mtljax.linear.ngrams import Ngrams as Ngrams
from mtljax.linear.ngrams import NgramSettings as NgramSettings
from mtljax.linear.ngrams import beside as beside
from mtljax.linear.ngrams import learn_ngrams as learn_ngrams
from mtljax.linear.ngrams import ngram_features as ngram_features
from mtljax.linear.omega import Omega as Omega
from mtljax.linear.omega import graph_laplacian as graph_laplacian
from mtljax.linear.omega import l1 as l1
from mtljax.linear.omega import l2 as l2
from mtljax.linear.omega import mean_regularized as mean_regularized
from mtljax.linear.omega import task_groups as task_groups
from mtljax.linear.omega import trace_norm as trace_norm
from mtljax.linear.path import accuracy as accuracy
from mtljax.linear.path import best_of as best_of
from mtljax.linear.path import fit_path as fit_path
